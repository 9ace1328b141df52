"""A short chaos run: anything of a real studio is killed at random moments, and all has to come back right.

The seed is printed; ``COMFYVN_CRASH_SEED`` repeats it. Longer ones, and the meanest moments, are `make test-chaos`.
"""

from __future__ import annotations

import asyncio
import os
import random

import pytest
from simulation.chaos import Chaos, world

SEED = int(os.environ.get("COMFYVN_CRASH_SEED", str(random.SystemRandom().randrange(2**32))))


@pytest.mark.parametrize("outside", [False, True], ids=["embedded", "outside"])
def test_whoever_is_killed_when_all_comes_back_right(outside: bool) -> None:
    print(f"COMFYVN_CRASH_SEED={SEED}")
    with world(outside=outside, postgres=False, keep=False) as one:
        asyncio.run(Chaos(one, SEED).run(blows=3))
