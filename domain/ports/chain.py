"""The audit's chain of hashes and its signed checkpoints."""

from __future__ import annotations

from typing import Protocol


class Chain(Protocol):
    """Where the audit keeps its hashes (32 bytes per position of the log) and its signed checkpoints.

    Blocking: call it from a thread. Raises ``Unavailable`` when it cannot be read or written.
    """

    def length(self) -> int:
        """Positions that have a hash: 1 to this one."""
        ...

    def mend(self) -> int:
        """Cuts what a crash left unfinished at the end, nothing else; the length after that. For the writer alone."""
        ...

    def hashes(self, first: int, count: int) -> bytes:
        """The hashes of up to ``count`` positions from ``first`` on, one after the other."""
        ...

    def extend(self, after: int, hashes: bytes) -> None:
        """Durably adds the hashes of the positions that follow ``after``, which must be the length as it is."""
        ...

    def statements(self) -> list[bytes]:
        """The signed checkpoints as they were written, oldest first."""
        ...

    def state(self, statement: bytes) -> None:
        """Durably adds one signed checkpoint, a text of one line."""
        ...

    def key(self) -> bytes | None:
        """The private key (PEM), if there is one here."""
        ...

    def keep_key(self, private: bytes, public: bytes) -> bytes:
        """Keeps a key pair (PEM), the private one for its owner alone, unless there is one; the private key now.

        With the private key that is there already, a public one that is missing is kept as well.
        """
        ...

    def public_key(self) -> bytes | None:
        """The public key (PEM), if there is one here."""
        ...
