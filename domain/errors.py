"""How anything here says no.

    ComfyVNError
    ├── Invalid       the request itself is malformed or too large
    ├── NotFound      nothing of that name has happened
    ├── Refused       a rule of the domain says no
    │   └── Locked    a policy says no until somebody acknowledges or mends something
    ├── Stale         the caller decided on an older version than the newest
    ├── Denied        the caller may not do this
    └── Unavailable   the log, the read side or a blob store cannot answer now

The door maps kinds to status codes; nothing in here knows HTTP.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple


class Remedy(NamedTuple):
    """One thing that a person can do about an error: a sentence and an action id for buttons and scripts."""

    text: str
    action: str


class ComfyVNError(Exception):
    """A refusal with a stable code, one sentence for people, and what to do next.

    ``error`` is a stable snake_case code; ``detail`` is JSON-serialisable and never holds a secret.
    """

    error: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        error: str | None = None,
        remediation: tuple[Remedy, ...] | list[Remedy] = (),
        detail: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = error or type(self).error
        self.remediation = tuple(remediation)
        self.detail = detail or {}


class Invalid(ComfyVNError):
    """The request itself is malformed, too large or contradicts itself."""

    error = "invalid"


class NotFound(ComfyVNError):
    """Nothing of that name exists at the place and time asked for."""

    error = "not_found"


class Refused(ComfyVNError):
    """A rule of the domain says no; the message is the rule."""

    error = "refused"


class Locked(Refused):
    """A policy says no until somebody acknowledges or mends what the findings name."""

    error = "locked"


class Stale(ComfyVNError):
    """The caller's expected version is not the newest; ``detail`` holds both."""

    error = "stale_version"


class Denied(ComfyVNError):
    """The caller is unknown or lacks the scope."""

    error = "denied"


class Unavailable(ComfyVNError):
    """Something that must answer (log, read side, blobs) cannot answer now; retrying later is right."""

    error = "unavailable"
