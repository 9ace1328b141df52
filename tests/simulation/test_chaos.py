"""The verdicts of a chaos run (`make test-chaos`) say what is wrong; and a short run, where it is asked for.

``COMFYVN_TEST_CHAOS=1`` asks for one; its seed is printed, and ``COMFYVN_CRASH_SEED`` repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest
from simulation import chaos_verdicts as verdicts
from simulation.chaos import Chaos, world
from simulation.chaos_listeners import Heard
from simulation.chaos_load import ACTOR, Ask, Authors

from services.studio import Asker, command_id_of

SEED = int(os.environ.get("COMFYVN_CRASH_SEED", str(random.SystemRandom().randrange(2**32))))
KEY = command_id_of(Asker(ACTOR, key="k1"), "chaos")


def event(position: int, type_: str = "SceneEdited", command: str = KEY, **more: Any) -> dict[str, Any]:
    return {"position": position, "id": f"e{position}", "type": type_, "category": "scene", "stream": "one",
            "actor": ACTOR, "command_id": command, "data": {}, **more}


def asked(status: int, *positions: int) -> Authors:
    authors = Authors(1, lambda: "")
    answer = {"events": [{"type": "SceneEdited", "position": one} for one in positions]}
    authors.asks = [Ask("k1", "/api/scenes", {}, status=status, answer=answer)]
    return authors


@pytest.mark.parametrize(("authors", "log", "wrong"), [
    (asked(200, 1), [event(1)], ""),
    (asked(200, 1), [], "promised [1], and [] are in the log"),
    (asked(200, 1), [event(1), event(2)], "promised [1], and [1, 2]"),
    (asked(409), [event(1)], "[1] are in the log"),
    (asked(0), [], "no answer ever came"),
    (asked(200, 1), [event(1), event(2, command="another")], "nobody was told of"),
    (asked(200, 2), [event(2)], "holes"),
])
def test_promises_that_were_not_kept_are_named(authors: Authors, log: list[dict[str, Any]], wrong: str) -> None:
    found = verdicts.promises(authors, log)
    assert [wrong in one for one in found][:1] == ([True] if wrong else [])


@pytest.mark.parametrize("heard", [[1, 2], [1, 2, 2, 3], [1, 3, 2], [1, 2, 3, 4]])
def test_a_listener_that_missed_something_or_heard_it_twice_is_named(heard: list[int]) -> None:
    listener = Heard("sse")
    for position in heard:
        listener.take(position, f"e{position}")
    assert listener.wrong([event(one) for one in (1, 2, 3)])
    assert not listener.wrong([event(one) for one in heard])


def test_jobs_and_accounts_that_are_not_as_they_should_be_are_named() -> None:
    begun = event(1, "JobRequested", category="job")
    ended = event(2, "JobCompleted", category="job")
    assert verdicts.jobs([begun, ended], []) == []
    assert "stands still" in verdicts.jobs([begun], [])[0]
    assert "ended twice" in verdicts.jobs([begun, ended, ended], [])[0]
    assert "submitted twice" in verdicts.jobs([], [{"attempt": "a"}, {"attempt": "a"}])[0]
    stand = {"balance": 5, "reserved": 0, "shortfall": 0}
    log = [event(1, "CreditsGranted", category="ledger", data={"amount": 5, **stand})]
    assert verdicts.money([{"account": "one", "explained": True, **stand}], log) == []
    assert verdicts.money([{"account": "one", "explained": True, **stand, "balance": 4}], log)


def test_files_that_nobody_will_finish_are_found(tmp_path: Path) -> None:
    stay = ("vault.json", "vault.json.lock", "blobs/sha256/ab/cd", "nats/nats.conf", "exports/chaos/game/script.rpy")
    left = (".server.json.coming-x1", "blobs/incoming/blob-1", "exports/chaos/.game.comfyvn-building-1/a", "a.partial",
            "scratch/sign-1/file", "attempts/studio_local/.coming-a-1/order.json", ".tokens.json.new")
    for name in (*stay, *left):
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"")
    assert {one for one in verdicts.left_over(tmp_path) if (tmp_path / one).is_file()} == set(left)


@pytest.mark.skipif(not os.environ.get("COMFYVN_TEST_CHAOS"), reason="a studio that is killed: COMFYVN_TEST_CHAOS=1")
@pytest.mark.parametrize("outside", [False, True], ids=["embedded", "outside"])
def test_whoever_is_killed_when_all_comes_back_right(outside: bool) -> None:
    print(f"COMFYVN_CRASH_SEED={SEED}")
    with world(outside=outside, postgres=False, keep=False) as one:
        asyncio.run(Chaos(one, SEED).run(blows=3))
