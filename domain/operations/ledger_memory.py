"""What a ledger remembers for ever of every attempt, compactly, and cheap to change in an account's long life."""

from __future__ import annotations

import zlib
from typing import Final, Literal, NamedTuple, TypeVar

Remembered = TypeVar("Remembered")

Buckets = dict[str, dict[str, Remembered]]
"""Number of a bucket -> id -> what is remembered. Never changed in place."""

BUCKETS: Final = 512
"""One more entry copies this many references and one bucket, not everything: 2 thousand for a million entries."""


class Attempt(NamedTuple):
    """What became of one attempt; amounts in microcredits.

    ``facts`` is the digest of what was reserved or deducted, ``held`` what is reserved now, ``actual`` what the work
    cost (-1: not known), ``taken`` what of it was paid, ``lacking`` what is owed, ``refunded`` what came back.
    """

    kind: Literal["reserved", "settled", "released", "deducted"]
    facts: str
    held: int = 0
    taken: int = 0
    lacking: int = 0
    refunded: int = 0
    actual: int = -1


def _bucket(id_: str) -> str:
    return str(zlib.crc32(id_.encode()) % BUCKETS)


def remembered(buckets: Buckets[Remembered], id_: str) -> Remembered | None:
    """What is remembered of an id."""
    return buckets.get(_bucket(id_), {}).get(id_)


def with_one(buckets: Buckets[Remembered], id_: str, value: Remembered) -> Buckets[Remembered]:
    """The same memory with one id added or replaced."""
    bucket = _bucket(id_)
    return {**buckets, bucket: {**buckets.get(bucket, {}), id_: value}}
