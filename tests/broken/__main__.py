"""Breaks files for as long as one likes, each reader in a process of its own with little time and memory.

    python -m tests.broken --seed 1 --minutes 10 [reader …]

A reader that raises what it does not declare, takes too long, takes too much memory or ends its process is told with
its seed; `--seed N --count 1 reader` does that one again. Exit code 1 when anything was found.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Final

from broken.mutating import broken
from broken.readers import READERS, Reader

SECONDS: Final = 10
"""Longest time for one file."""

MEMORY: Final = 2**30
"""Address space that a reader may take besides what the process has already."""


def _begin(seconds: int) -> None:
    # Of the processor's time, since others may use the machine; by the system, which also ends what never comes back.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(12 * seconds if seconds else 0)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _worked(reader: Reader, seed: int, count: int, ends: float, note: Path) -> int:
    """Reads broken files one after the other; how many were found to go wrong."""
    found, told = 0, set()
    with tempfile.TemporaryDirectory() as made:
        valid = reader.valid(Path(made))
    for one in valid:
        with tempfile.TemporaryDirectory() as folder:
            reader.read(one, Path(folder))
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, -1))
    for number in range(seed, seed + count):
        if time.monotonic() > ends:
            break
        note.write_text(str(number))
        try:
            data = broken(Random(number), valid, reader.frame)
        except MemoryError:  # breaking it took what reading it may have
            continue
        with tempfile.TemporaryDirectory() as folder:
            _begin(SECONDS)
            try:
                reader.read(data, Path(folder))
            except reader.declared:
                pass
            except BaseException as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                known = (type(error), place.filename, place.lineno)
                if known not in told:
                    found += 1
                    told.add(known)
                    print(f"--- {reader.name} seed {number}: {type(error).__name__}: {str(error)[:300]}")
                    traceback.print_exc(limit=-4, file=sys.stdout)
            finally:
                _begin(0)
    print(f"{reader.name}: {number - seed + 1} files", flush=True)
    return found


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--count", type=int, default=10**9)
    asked.add_argument("--minutes", type=float, default=5)
    asked.add_argument("readers", nargs="*", default=[])
    given = asked.parse_args()
    names = given.readers or list(READERS)
    seconds = given.minutes * 60 / len(names)
    wrong = 0
    for name in names:
        with tempfile.NamedTemporaryFile() as file:
            pid = os.fork()
            if pid == 0:
                found = 1
                try:
                    ends = time.monotonic() + seconds
                    found = _worked(READERS[name], given.seed, given.count, ends, Path(file.name))
                finally:
                    sys.stdout.flush()
                    os._exit(1 if found else 0)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status < 0:
                late = status in (-signal.SIGALRM, -signal.SIGPROF)
                ended = "took too long" if late else f"ended by signal {-status}"
                print(f"--- {name} seed {Path(file.name).read_text()}: {ended}", flush=True)
            wrong += status != 0
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
