"""Whatever is in a file, its reader says so in an error that it declares. `python -m tests.broken` looks for longer."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from broken.mutating import broken
from broken.readers import READERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("COMFYVN_TEST_BROKEN", "8"))
"""Broken files for each reader, the same ones every time."""


@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_told_and_nothing_else_comes_out(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    valid = reader.valid(tmp_path)
    for number, one in enumerate(valid):
        (place := tmp_path / f"valid{number}").mkdir()
        reader.read(one, place)

    @given(st.integers(0, 2**32))
    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    def read(seed: int) -> None:
        (place := tmp_path / f"broken{seed}").mkdir(exist_ok=True)
        with suppress(*reader.declared):
            reader.read(broken(Random(seed), valid, reader.frame), place)

    read()
