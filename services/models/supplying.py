"""Which entry of the catalogue would supply a model file that an engine lacks: curated ones, then the project's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from domain.errors import ComfyVNError
from domain.studio.model_entry import Entry
from domain.studio.model_library import supplies, supplying
from domain.tables import PAGE_LIMIT, Where
from projections.studio.model import CUSTOM
from services.studio import Studio

LOOKED_AT: Final = PAGE_LIMIT
"""Most entries of a project's own that are looked at."""

Supplier = Callable[[str, str], str | None]
"""Folder and name of a missing file (``any``, ``any *flux*`` for whatever fits) → the id of an entry."""


async def supplier(studio: Studio, project: str) -> Supplier:
    """What the catalogue of a project could supply, as it stands now."""
    own = await asyncio.to_thread(_own, studio, project)

    def find(folder: str, name: str) -> str | None:
        return supplying(folder, name) or next(
            (id_ for id_, one in own if one.folder == folder and supplies(one.filename, name)), None
        )

    return find


def _own(studio: Studio, project: str) -> Sequence[tuple[str, Entry]]:
    try:
        with studio.models.reader() as reader:
            rows = reader.rows(CUSTOM.name, Where("project", "=", project), order=("model_id",), limit=LOOKED_AT)
    except ComfyVNError:
        return ()  # advice is not worth an error
    return [(row["model_id"], Entry.model_validate(row["entry"])) for row in rows]
