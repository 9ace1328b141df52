"""Names that are safe as one token of a NATS subject, a URL and a file name, and ids derived from other ids."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from domain.errors import Invalid, Remedy

MAIN: Final = "main"
"""The worldline that every project has from its first command."""

UNBRANCHED: Final = "-"
"""The worldline token of what does not branch: jobs, credits, policy decisions, assets."""

TOKEN_LIMIT: Final = 96
"""Longest name in characters; subjects carry four of them and JetStream keeps every subject in memory."""

_TOKEN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\Z")
_RULE = f"1 to {TOKEN_LIMIT} characters of A-Z a-z 0-9 _ -, not starting with -"


def token(text: str) -> str:
    """``text`` if it is a safe name, else ``ValueError`` with the rule as its sentence."""
    if len(text) > TOKEN_LIMIT or not _TOKEN.match(text):
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise ValueError(f"{shown!r} is not a usable name: {_RULE}")
    return text


def checked(kind: str, text: str) -> str:
    """``token(text)`` for a door: raises ``Invalid`` and names what kind of name was wrong."""
    try:
        return token(text)
    except ValueError as error:
        raise Invalid(
            f"The {kind} {error}",
            error="invalid_name",
            remediation=[Remedy(f"Choose a {kind} of {_RULE}.", "rename")],
            detail={"kind": kind, "value": text[:TOKEN_LIMIT]},
        ) from error


Token = Annotated[str, Field(min_length=1, max_length=TOKEN_LIMIT), AfterValidator(token)]
"""A name that can stand in a subject: project, worldline or aggregate id."""


def derived_id(*parts: str, length: int = 22) -> str:
    """The same id for the same parts, for ever: the first ``length`` hex digits of SHA-256 over the parts.

    22 hex digits are 88 bits: a collision among 10 million ids has a chance of about 1 in 6 trillion.
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:length]
