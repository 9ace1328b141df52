"""The shapes that facts are made of: frozen, closed models with one JSON form each."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

Json = None | bool | int | float | str | list[Any] | dict[str, Any]
"""Anything that JSON can say."""


class Value(BaseModel):
    """A frozen value. Unknown fields are refused by name."""

    # Built on first use: a process that starts uses few of the hundreds of shapes, and building all takes a second.
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="constants", allow_inf_nan=False, defer_build=True
    )


class Event(Value):
    """Something that has happened. Its class name and fields are storage: never changed, only upcast.

    Fields of a newer release are ignored when an older release reads them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    SCHEMA: ClassVar[int] = 1
    """Version of the stored fields; raise it with an upcaster from every older version."""
