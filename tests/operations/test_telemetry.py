"""Telemetry: every event counts once, whatever its type, and rates need no clock."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from projected import Projected

from domain.ports import Recorded, Stream
from projections.operations.telemetry import minute_of, time_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@drawn(st.datetimes(datetime(1, 1, 1), datetime(9998, 12, 31)))
def test_a_minute_is_the_calendars_minute(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    expected = (moment - EPOCH) // timedelta(minutes=1)
    assert minute_of(moment.isoformat().replace("+00:00", "Z")) == expected
    assert time_of(expected) == moment.strftime("%Y").zfill(4) + moment.strftime("-%m-%dT%H:%M:00Z")


@pytest.mark.parametrize("time", ["", "yesterday", "2026-1-2T3:4", "２０２６"])
def test_a_text_that_is_no_time_stops_nothing(time: str) -> None:
    assert minute_of(time) == 0


def event(
    position: int, type_: str, actor: str, time: str, *, category: str = "scene", project: str = "demo"
) -> Recorded:
    return Recorded(
        position, Stream(project, "main", category, "x"), type_, 1, b"{}", f"e{position}", position, time, actor,
        f"c{position}", "", "", "",
    )


EVENTS = [
    event(1, "WorldlineForked", "ada", "2026-01-01T10:00:00Z", category="worldline"),
    event(2, "SomethingNew", "ada", "2026-01-02T09:58:00Z"),
    event(3, "SomethingNew", "bob", "2026-01-02T10:00:10Z"),
    event(4, "SomethingNew", "bob", "2026-01-02T10:00:50Z"),
    event(5, "WorldlineUpdated", "bob", "2026-01-02T10:00:59Z", category="worldline"),
    event(6, "SomethingNew", "eve", "2026-03-01T00:00:00Z", project="other"),
]


def test_a_summary_counts_by_event_actor_and_context(tmp_path: Path) -> None:
    seen = Projected(tmp_path, ["telemetry"])
    seen.count(EVENTS, batch=2)
    told = seen.see("ShowTelemetry")
    assert told["total"] | {"events": 5, "bytes": 10, "first_position": 1, "last_position": 5} == told["total"]
    by_event = {one["type"]: one for one in told["by_event"]}
    assert by_event["SomethingNew"] == {
        "category": "scene", "type": "SomethingNew", "events": 3, "bytes": 6, "first_position": 2,
        "first_time": "2026-01-02T09:58:00Z", "last_position": 4, "last_time": "2026-01-02T10:00:50Z",
        "known": False, "last_24h": 3,
    }
    assert by_event["WorldlineForked"]["known"] is True
    assert by_event["WorldlineForked"]["last_24h"] == 0, "it is 24 hours old"
    assert told["unknown_events"] == 3
    by_actor = [(one["actor"], one["events"], one["last_24h"]) for one in told["by_actor"]]
    assert by_actor == [("bob", 3, 3), ("ada", 2, 1)]
    assert [(one["category"], one["events"]) for one in told["by_context"]] == [("scene", 3), ("worldline", 2)]
    assert told["rates"]["until"] == "2026-01-02T10:00:00Z"
    assert told["rates"]["per_minute"] == {"1m": 3, "5m": 0.8, "1h": round(4 / 60, 4), "24h": round(4 / 1440, 4)}
    earlier = seen.see("ShowTelemetry", until="2026-01-01T10:00")
    assert earlier["rates"]["per_minute"]["1m"] == 1
    assert seen.see("ShowTelemetry", project="nothing")["total"] == {"events": 0, "bytes": 0}
    assert [(one["time"], one["events"]) for one in seen.pages("ListRates", limit=1)] == [
        ("2026-01-02T10:00:00Z", 3), ("2026-01-02T09:58:00Z", 1), ("2026-01-01T10:00:00Z", 1),
    ]
    hours = seen.pages("ListRates", bucket="hour", limit=1)
    assert sum(one["events"] for one in hours) == 5


HAPPENINGS = st.lists(st.tuples(
    st.sampled_from(["A", "B", "C"]), st.sampled_from(["ada", "bob", ""]), st.integers(0, 10**6),
    st.sampled_from(["scene", "asset"]),
), max_size=30)


@drawn(HAPPENINGS, st.integers(1, 7))
def test_however_it_is_cut_into_batches_every_event_counts_once(
    tmp_path_factory: pytest.TempPathFactory, happenings: list[Any], batch: int
) -> None:
    events = [
        event(number, type_, actor, (EPOCH + timedelta(minutes=minute)).isoformat(), category=category)
        for number, (type_, actor, minute, category) in enumerate(happenings, start=1)
    ]
    seen = Projected(tmp_path_factory.mktemp("read"), ["telemetry"])
    if events:
        seen.count(events, batch=batch)
    told = seen.see("ShowTelemetry")
    assert told["total"]["events"] == len(events)
    assert {(one["category"], one["type"]): one["events"] for one in told["by_event"]} == dict(
        Counter((category, type_) for type_, _, _, category in happenings)
    )
    assert {one["actor"]: one["events"] for one in told["by_actor"]} == dict(
        Counter(actor for _, actor, _, _ in happenings)
    )
    for one in told["by_event"]:
        positions = [e.position for e in events if (e.stream.category, e.type) == (one["category"], one["type"])]
        assert (one["first_position"], one["last_position"]) == (positions[0], positions[-1])
    seen.models.close()
