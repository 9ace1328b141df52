"""The words that facts about assets are made of, each with its bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, JsonValue

from domain.bounded_json import check_json
from domain.values import Value

UID_LENGTH: Final = 16
METADATA_LIMIT: Final = 64 * 1024
METADATA_DEPTH: Final = 16

Kind = Literal["image", "audio", "video", "font", "text", "json", "archive", "other"]
"""What the bytes are, coarsely."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def _line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must be one line without control characters")
    return text.strip()


def _text(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("must not contain NUL or half of a surrogate pair")
    return text


def _tag(text: str) -> str:
    cleaned = _line(text)
    if not cleaned or "," in cleaned:
        raise ValueError("must have 1 to 64 characters and no comma")
    return cleaned


def _sorted(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(tags)))


def distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values in their order, each once."""
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return tuple(kept)


def _metadata(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    check_json(metadata, depth=METADATA_DEPTH, size=METADATA_LIMIT)
    return metadata


Uid = Annotated[str, Field(pattern=r"^[0-9a-f]{16}\z")]
"""First 16 hex digits of the SHA-256 of the bytes."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]
"""SHA-256 of bytes in hex."""

MediaType = Annotated[str, Field(max_length=120, pattern=r"^[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*\z")]
Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}\z")]
"""A short stable word: a reason, a recipe with its version."""

Caution = Code
"""Something found in the bytes that a person should know: ``active_content`` in a drawing, for example."""

AssetType = Annotated[str, Field(max_length=64), AfterValidator(_line)]
"""What the project uses it as, in its own words: background, portrait, voice…"""

Name = Annotated[str, Field(max_length=200), AfterValidator(_line)]
Tag = Annotated[str, Field(max_length=64), AfterValidator(_tag)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=100), AfterValidator(_sorted)]
Licence = Annotated[str, Field(max_length=200), AfterValidator(_line)]
"""An SPDX identifier or the licence's name."""

Origin = Annotated[str, Field(max_length=2000), AfterValidator(_line)]
"""Where it comes from, as an address or in words."""

Notes = Annotated[str, Field(max_length=10_000), AfterValidator(_text)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_metadata)]
Reference = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_line)]
"""Who uses the asset, as ``<what>:<name>``: ``path:art/room.png``, ``scene:intro``."""


class Source(Value):
    """One way in which the bytes came to be here; empty where it is not known.

    ``made_from`` names assets by uid; ``workflow_digest`` is the SHA-256 of the workflow that made it.
    ``seed`` is decimal text, since seeds of 64 bits are not safe as JSON numbers.
    """

    how: Literal["upload", "register", "import", "generate", "other"]
    name: Name = ""
    url: Origin = ""
    author: Name = ""
    job_id: Name = ""
    engine: Name = ""
    model: Name = ""
    workflow_digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?\z")] = ""
    seed: Annotated[str, Field(pattern=r"^(-?[0-9]{1,40})?\z")] = ""
    made_from: Annotated[tuple[Uid, ...], Field(max_length=64)] = ()

    @property
    def telling(self) -> bool:
        """Whether it says more than that a file of some name came in."""
        return self != Source(how=self.how, name=self.name)


class Variant(Value):
    """A small rendering of an asset: ``name`` is its size ("256", "512") or what it is ("peaks")."""

    name: Code
    digest: Digest
    size: int = Field(ge=1)
    media_type: MediaType
    width: int = Field(ge=0)
    height: int = Field(ge=0)
