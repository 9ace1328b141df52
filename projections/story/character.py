"""Characters as people read them: who there is, everything about one, and the scenes in which one appears."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from domain.story.character import CHARACTER
from domain.tables import Reader
from projections.story import appearances, authored

PROJECTIONS = appearances.PROJECTIONS


def show_character(reader: Reader, query: Any) -> dict[str, Any]:
    """The character; collections without items are left away, and it always says whether it has a portrait."""
    told = authored.show_document(CHARACTER, reader, query)
    kept = {name: value for name, value in told.items() if value or name not in CHARACTER.by_name}
    return kept if query.bare else {"portrait": None, **kept}


_SEEN = {view.name: view for view in authored.seen_of(CHARACTER, "/api/characters")}

_SEEN["ShowCharacter"] = replace(_SEEN["ShowCharacter"], answer=show_character)

VIEWS = (*_SEEN.values(), appearances.VIEW)
