"""Real servers for the tests, started once per run from the wheels."""

import os
import signal
import threading

from hypothesis import settings

pytest_plugins = ["fixtures_nats", "fixtures_postgres", "fixtures_studio"]

# Hundreds of processes of ours are started by the tests: each compiles all of it anew where bytecode may not be kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell that starts something in the background has it ignore Ctrl-C, and so do all whom it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# An example that takes long says something about the machine, not about the code.
settings.register_profile("comfyvn", deadline=None)
settings.load_profile("comfyvn")
