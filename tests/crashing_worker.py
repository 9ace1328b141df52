"""A worker that runs the previews on a real log and, if told so, dies by ``kill -9`` at a chosen moment.

python crashing_worker.py SERVERS STREAM FOLDER never|before_ask|before_ack
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from studios import studio_on

from adapters.nats.inbox import JetStreamDelivery, JetStreamInboxes
from adapters.nats.log import JetStreamLog
from services.processes.previews import PROCESS
from services.processes.runner import Runner
from services.studio import Studio


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    servers, stream, folder, moment = sys.argv[1].split(","), *sys.argv[2:]
    if moment == "before_ask":
        Studio.ask_all = die  # type: ignore[method-assign,assignment]
    if moment == "before_ack":
        JetStreamDelivery.ack = die  # type: ignore[method-assign,assignment]
    log = await JetStreamLog.connect(servers, stream=stream)
    inboxes = await JetStreamInboxes.connect(servers, stream=stream)
    await Runner(studio_on(Path(folder), log), inboxes, [replace(PROCESS, ack_wait_seconds=1.0)]).run()


asyncio.run(main())
