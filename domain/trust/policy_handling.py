"""What a project says of prompts and of metadata that leaks: kept or stripped, where, and on which conditions.

A handling is data, as a rule is. A rule says whether something may be done; a handling says how it is done: whether the
prompt stands in what was generated, and whether files keep what they tell besides their content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from domain.ids import Token
from domain.trust.policy_rules import Condition, Fact, Text, condition_holds, covers
from domain.values import Value

What = Literal["prompt", "metadata"]
"""``prompt``: the text that an asset was made of, in what is registered of it. ``metadata``: what a file tells besides
its content (prompt graphs, Exif, XMP, comments, edit histories, credentials)."""

Then = Literal["keep", "strip"]

HandlingAction = Annotated[str, Field(
    pattern=r"^(generate|download|export|publish)(\.[a-z0-9_-]+)*$", max_length=100,
    description="generate (when a result is registered), download, export or publish, with dotted suffixes: "
                "generate.image, export.renpy.",
)]

HANDLING_LIMIT: Final = 100
"""Most handlings of a project."""

DEFAULTS: Final[Mapping[What, Then]] = {"prompt": "strip", "metadata": "keep"}
"""What is done where a project says nothing: of a prompt the hash alone is registered, files stay as they were made."""

FACTS: Final[Mapping[str, str]] = {
    "generated": "yes or no: made by a model or by the studio's own engine",
    "engine": "text: the engine that made it (generate)",
    "remote": "yes or no: whether that engine is on another machine (generate)",
    "preset": "text: the preset that was run (generate)",
    "face_reference": "yes or no: whether a real person's face or voice was used (generate)",
    "kind": "text: image, video, audio, …",
    "media_type": "text: image/png, …",
    "asset_type": "text: what the project calls it (download, export)",
    "licence": "text: SPDX identifier or name of the licence (download, export)",
    "origin": "text: where it comes from (download, export)",
    "nsfw": "yes or no: not safe for work (download, export)",
}
"""Facts that a condition of a handling may look at, and where they are known."""


class Handling(Value):
    """For these actions, when every condition holds for the asset: keep it, or strip it.

    Where several hold, the careful one wins: what one of them strips is stripped.
    """

    handling_id: Token
    what: What
    actions: Annotated[tuple[HandlingAction, ...], Field(min_length=1, max_length=20)]
    when: Annotated[tuple[Condition, ...], Field(max_length=20)] = ()
    then: Then
    reason: Text = ""


class Ruled(NamedTuple):
    """What is done, and the ids of the handlings that say so; of none, it is the default."""

    then: Then
    by: tuple[str, ...]

    @property
    def strips(self) -> bool:
        return self.then == "strip"


def ruled(
    handlings: Iterable[Handling], what: What, action: str, facts: Mapping[str, Fact], otherwise: Then | None = None
) -> Ruled:
    """What is done with an asset of these facts; ``otherwise`` stands in for the default."""
    found = [one for one in handlings if one.what == what and applies(one, action, facts)]
    then: Then = "strip" if any(one.then == "strip" for one in found) else "keep"
    if not found:
        return Ruled(otherwise or DEFAULTS[what], ())
    return Ruled(then, tuple(sorted(one.handling_id for one in found if one.then == then)))


def applies(handling: Handling, action: str, facts: Mapping[str, Fact]) -> bool:
    """Whether a handling is about this action with an asset of these facts."""
    return any(covers(named, action) for named in handling.actions) and all(
        condition_holds(one, action, facts.get(one.fact)) for one in handling.when
    )
