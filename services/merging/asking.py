"""What is asked of a merge."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

import orjson

from projections.boards.merging import Wanted


class Merge(NamedTuple):
    """What is asked: which worldline into which, and how conflicts are settled."""

    project: str
    source: str
    target: str
    wanted: Wanted = Wanted()

    def digest(self) -> str:
        """What was asked, as a digest: it tells a retry from a key that is used for something else."""
        decisions = {name: list(one) for name, one in self.wanted.decisions.items()}
        told = [self.project, self.source, self.target, decisions, self.wanted.rule, sorted(self.wanted.only)]
        return sha256(b"merge\n" + orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
