"""Workflows that tasks bring along: read from what is stored, checked against their digest, held while there is room.

Nothing is written anywhere: a document that was let go, or that another process has read, is read again from the store.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from adapters.engines.local_comfy.workflows import DOCUMENT_BYTES, NotAWorkflow, Workflow, read_workflow
from domain.ports.engines import EngineError, Material, Reading
from domain.studio.fault import Fault, fault

HELD: Final = 128
"""Most documents that are held."""


class Documents:
    """Workflows by the digests of their documents, which never change."""

    def __init__(self, held: int = HELD) -> None:
        self._held = held
        self._flows: dict[str, Workflow] = {}

    async def read(self, material: Material, reading: Reading) -> Workflow:
        """The workflow in a stored document. Raises ``EngineError``: FILE_NOT_FOUND, CHECKSUM_MISMATCH,
        CONTRACT_MISMATCH (it is none), SERVICE_UNAVAILABLE."""
        flow = self._flows.pop(material.digest, None)
        if flow is None:
            content = await _bytes(material, reading)
            try:
                flow = await asyncio.to_thread(read_workflow, content)
            except NotAWorkflow as error:
                raise EngineError(fault("CONTRACT_MISMATCH", f"What is stored is no workflow: {error}"[:2000],
                                        reason="not_a_workflow", digest=material.digest)) from None
        self._flows[material.digest] = flow  # the last to go
        while len(self._flows) > self._held:
            del self._flows[next(iter(self._flows))]
        return flow


async def _bytes(material: Material, reading: Reading) -> bytes:
    if material.size > DOCUMENT_BYTES:
        raise EngineError(_refused(material, f"it is larger than {DOCUMENT_BYTES} bytes"))
    content = bytearray()
    try:
        async with reading(material) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > material.size:
                    break
    except EngineError as error:
        if error.fault.code == "FILE_REFUSED":
            raise EngineError(_other(material)) from None
        if error.fault.code != "FILE_NOT_FOUND":
            raise
        raise EngineError(fault("FILE_NOT_FOUND", "The workflow is not among the stored files any more: take it in "
                                "again, or restore the blobs from a backup.", digest=material.digest)) from None
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != material.digest:
        raise EngineError(_other(material))
    return bytes(content)


def _other(material: Material) -> Fault:
    return fault("CHECKSUM_MISMATCH", "The stored workflow is not what it was when it was taken in: restore the blobs "
                 "from a backup, or take it in again.", digest=material.digest)


def _refused(material: Material, why: str) -> Fault:
    return fault("CONTRACT_MISMATCH", f"What is stored is no workflow: {why}.", reason="not_a_workflow",
                 digest=material.digest)
