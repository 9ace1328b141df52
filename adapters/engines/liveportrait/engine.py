"""LivePortrait behind the ``Engine`` protocol: a process per task, with the Python and folder that are configured."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adapters.engines.attempts.attempts import Attempts
from adapters.engines.attempts.engine import AttemptsEngine
from adapters.engines.liveportrait.asking import Animate, arguments, judged
from adapters.engines.liveportrait.installation import CAUTION, Installation, found
from domain.ports.engines import (
    Accepted,
    EngineError,
    Health,
    Offer,
    Reading,
    Task,
    Traits,
)
from domain.studio.fault import fault

LOOK_SECONDS: Final = 10.0
"""How long a look at the installation is believed."""

REMEDY: Final = ("Install LivePortrait yourself, then set COMFYVN_LIVEPORTRAIT_PATH to its folder (and "
                 "COMFYVN_LIVEPORTRAIT_PYTHON to its Python).", "install_engine")

PASSED: Final = ("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "HIP_VISIBLE_DEVICES", "PYTORCH_ENABLE_MPS_FALLBACK", "HF_HOME")


class LivePortrait(AttemptsEngine):
    """``provider_liveportrait``. ``folder`` keeps the attempts, ``path`` and ``python`` say where it is installed."""

    def __init__(self, folder: Path, path: Path | None, python: str | None = None, *, slots: int = 1) -> None:
        path = None if path is None else path.expanduser().absolute()
        python = None if python is None else str(Path(python).expanduser())
        self._path, self._python = path, python
        self._looked: tuple[float, Installation] | None = None
        program = (sys.executable, "-m", "adapters.engines.liveportrait.child", str(path or ""), python or "")
        super().__init__(
            Traits("provider_liveportrait", "LivePortrait", "local", False, True, slots, 1.0),
            Attempts(folder, program, slots=slots,
                     environment={name: os.environ[name] for name in PASSED if name in os.environ}),
        )

    async def _installation(self) -> Installation:
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] > LOOK_SECONDS or self._looked[1].wrong:
            self._looked = (now, await asyncio.to_thread(found, self._path, self._python))
        return self._looked[1]

    async def verify(self) -> None:
        await self._attempts.opened()
        installation = await self._installation()
        if installation.wrong is not None:
            raise EngineError(installation.wrong)

    async def health(self) -> Health:
        installation = await self._installation()
        try:
            await self.verify()
        except EngineError as error:
            gone = installation.path is None or installation.missing == ("LivePortrait",)
            remedy = REMEDY if installation.wrong else tuple(error.fault.meaning[1:])
            return Health("not_installed" if gone else "error", error.fault.message, remedy,  # type: ignore[arg-type]
                          dict(installation.facts))
        return Health("running", CAUTION, None, {**installation.facts, "options": sorted(installation.options)})

    async def offers(self) -> Sequence[Offer]:
        installation = await self._installation()
        inputs = {"image": {"kind": "image", "least": 0, "most": 1},
                  "source_video": {"kind": "video", "least": 0, "most": 1},
                  "video": {"kind": "video", "least": 1, "most": 1}}
        parameters = {"schema": Animate.model_json_schema(), "inputs": inputs, "caution": CAUTION}
        return [Offer("expression_transfer", "liveportrait", parameters, installation.missing)]

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        asked = judged(task)
        await self.verify()
        unknown = None
        try:
            arguments(asked, (await self._installation()).options)
        except ValueError as error:
            unknown = str(error)
        if unknown is not None:
            told = f"The installed LivePortrait has no option for {unknown}; a newer release has."
            raise EngineError(fault("CONTRACT_MISMATCH", told, field=unknown))
        return await self._attempts.take(task, reading)
