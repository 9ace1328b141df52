"""Content credentials: a signed statement in a file, or beside it, of how the file came to be; and reading one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

Relationship = Literal["parentOf", "componentOf"]
"""``parentOf``: the file is another state of it. ``componentOf``: it went into the file beside others."""

Form = Literal["embedded", "sidecar"]
"""``embedded``: a C2PA manifest in the file. ``sidecar``: a signed JSON file beside it, for what C2PA cannot embed."""

State = Literal["valid", "marked", "expired", "invalid", "none", "unreadable"]
"""``marked``: the file itself is as it was signed, but something that it was made from is not. ``expired``: as it was
signed, by a certificate that is over and without a trusted time. ``none``: there are no credentials. ``unreadable``:
there may be some, and they cannot be read."""


class Finding(NamedTuple):
    """One thing that a reading found: a code of the C2PA specification or of ours, and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Ingredient:
    """What a file was made from. ``path`` are its bytes, signed if they were; ``None``: only its hash is stated.

    ``digest`` is the SHA-256 of the asset's own bytes in hex, signed or not.
    """

    uid: str
    title: str
    relationship: Relationship
    media_type: str
    digest: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done: a name of the C2PA list, the IPTC digital source type (an address) where one belongs to
    it, and on which ingredients (by their place)."""

    name: str
    source_type: str = ""
    ingredients: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be signed about a file. ``assertions`` are our own, by reverse-domain label."""

    title: str
    media_type: str
    digest: str
    size: int
    actions: Sequence[Action]
    ingredients: Sequence[Ingredient] = ()
    assertions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadIngredient:
    """How an ingredient stands inside a file. ``state`` of ``none``: it had no credentials of its own."""

    title: str
    relationship: str
    state: State
    findings: tuple[Finding, ...] = ()
    uid: str = ""
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What the credentials of a file say, and whether they hold.

    ``trusted``: they were signed by a certificate that leads to one of our own roots; for everybody else they are valid
    and untrusted. ``manifest`` is the whole statement as JSON.
    """

    state: State
    form: Form | None = None
    trusted: bool = False
    findings: tuple[Finding, ...] = ()
    ingredients: tuple[ReadIngredient, ...] = ()
    issuer: str = ""
    generator: str = ""
    label: str = ""
    title: str = ""
    source_types: tuple[str, ...] = ()
    assertions: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signed:
    """A file was signed: where what came of it lies, in which form, by which certificate (SHA-256 of it, in hex; valid
    until, RFC 3339), and what reading it back says."""

    form: Form
    media_type: str
    certificate: str
    valid_until: str
    reading: Reading


class Unsignable(Exception):
    """A file cannot be signed: ``reason`` is a stable code, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Credentials(Protocol):
    """Signs and reads. Every method blocks: call it from a thread."""

    @property
    def embeds(self) -> bool:
        """Whether manifests can be written into files here, and read from them."""
        ...

    def embeds_into(self, media_type: str) -> bool:
        """Whether a file of that type carries its manifest inside."""
        ...

    def sign(self, source: str, destination: str, claim: Claim) -> Signed:
        """Signs the file ``source`` and writes the signed file, or the sidecar, to ``destination``.

        Raises ``Unsignable`` for what lies in the file, ``Unavailable`` for what lies in the keys.
        """
        ...

    def read(self, path: str, media_type: str, sidecar: str | None = None) -> Reading:
        """What the credentials in a file, or in a sidecar of it, say. Never raises for what is in the file."""
        ...

    def roots(self) -> str:
        """The certificates (PEM) that others have to trust so that our signatures count as trusted there."""
        ...
