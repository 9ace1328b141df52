"""Who is shown: a character who looks otherwise on another worldline is somebody else among the pictures of a game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.exchange.renpy.material import Tale

Characters = Mapping[str, Mapping[str, Any]]

_WORN: Final = ("portrait", "expressions", "poses")


def characters_of(tales: Sequence[Tale]) -> dict[str, Mapping[str, Any]]:
    """The characters of all tales; of several with one id the first tale's."""
    found: dict[str, Mapping[str, Any]] = {}
    for tale in reversed(tales):
        found.update(tale.characters)
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Cast:
    """Who is shown. ``roles``: for each tale, the characters that look otherwise there than on an earlier worldline,
    and who they are among the pictures of the game."""

    characters: Characters
    roles: tuple[Mapping[str, str], ...]


def cast(tales: Sequence[Tale]) -> Cast:
    """The cast of a game."""
    characters: dict[str, Mapping[str, Any]] = dict(characters_of(tales))
    roles = []
    for tale in tales:
        role = {
            id_: f"{id_} ({tale.world})" for id_, fields in tale.characters.items()
            if _worn(fields) != _worn(characters[id_])
        }
        characters |= {other: tale.characters[id_] for id_, other in role.items()}
        roles.append(role)
    return Cast(dict(sorted(characters.items())), tuple(roles))


def _worn(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in fields.items() if path.split("/")[0] in _WORN}


def played_by(directives: Sequence[Mapping[str, Any]], roles: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Directives with the characters as they are called among the pictures of the game."""
    if not roles:
        return list(directives)
    told = []
    for one in directives:
        field_ = "target" if one["kind"] == "tween" else "character"
        told.append({**one, field_: roles[one[field_]]} if one.get(field_) in roles else one)
    return told
