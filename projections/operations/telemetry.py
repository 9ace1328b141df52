"""Telemetry: how much happens, of which kind, by whom, and how fast; counted from the log and therefore repeatable.

There is no clock in here: rates are relative to the newest event, or to ``until``. What only a running process knows
(latencies, lag) is added by the door under ``live``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import Field

from domain.tables import Add, Change, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

COUNTS = Table(
    name="telemetry_counts",
    columns={
        "project": "text", "category": "text", "type": "text", "actor": "text", "events": "int", "bytes": "int",
        "first_position": "int", "first_time": "text", "last_position": "int", "last_time": "text",
    },
    key=("project", "category", "type", "actor"),
)

HOURS = Table(
    name="telemetry_hours",
    columns={"project": "text", "hour": "int", "category": "text", "type": "text", "actor": "text", "events": "int"},
    key=("project", "hour", "category", "type", "actor"),
)

MINUTES = Table(
    name="telemetry_minutes",
    columns={"project": "text", "minute": "int", "events": "int"},
    key=("project", "minute"),
)

SPANS: Final = {"1m": 1, "5m": 5, "1h": 60, "24h": 1440}
"""Stretches, in minutes, over which a rate is told; each ends with the minute of the newest event."""

KINDS_SHOWN: Final = 200
"""Most event types, actors and categories of one summary, the busiest first."""

COMBINATIONS: Final = 100_000
"""Most combinations of category, type and actor that are summed up."""

UNTIL: Final = (
    r"^([0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?Z?)?$"
)
"""A time in UTC to the minute or finer, or nothing."""

_TIME: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})")


def minute_of(time: str) -> int:
    """Minutes since 1970-01-01T00:00Z of an RFC 3339 time in UTC; 0 for a text that is none.

    Days by the civil calendar as in H. Hinnant, "chrono-compatible low-level date algorithms".
    """
    found = _TIME.match(time)
    if found is None:
        return 0
    year, month, day, hour, minute = map(int, found.groups())
    year -= month <= 2
    era, of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + day_of_year - 719_468
    return days * 1440 + hour * 60 + minute


def time_of(minute: int) -> str:
    """The time of a minute since 1970, as RFC 3339 in UTC."""
    days, rest = divmod(minute, 1440)
    days += 719_468
    era, day_of_era = divmod(days, 146_097)
    of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * of_era + of_era // 4 - of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = era * 400 + of_era + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}T{rest // 60:02}:{rest % 60:02}:00Z"


def apply(happened: Happened) -> Iterable[Change]:
    """Three sums per event, of any type, known or not."""
    recorded = happened.recorded
    stream = recorded.stream
    minute = minute_of(recorded.time)
    kind = {"category": stream.category, "type": recorded.type, "actor": recorded.actor}
    return (
        Add(
            COUNTS.name, {"project": stream.project, **kind}, {"events": 1, "bytes": len(recorded.data)},
            {"last_position": recorded.position, "last_time": recorded.time},
            {"first_position": recorded.position, "first_time": recorded.time},
        ),
        Add(HOURS.name, {"project": stream.project, "hour": minute // 60, **kind}, {"events": 1}),
        Add(MINUTES.name, {"project": stream.project, "minute": minute}, {"events": 1}),
    )


class ShowTelemetry(Query):
    """Counts by event, actor and context, and rates up to the newest event or to ``until``."""

    until: str = Field(
        default="", pattern=UNTIL,
        description="A time in UTC at which the rates end; empty: the newest event's.",
    )


class ListRates(PageQuery):
    """Events per minute or per hour, newest first; only stretches in which something happened."""

    bucket: Literal["minute", "hour"] = "minute"


def telemetry(known: frozenset[str]) -> tuple[View, ...]:
    """The views, given the names of the event types that this release knows."""

    def show(reader: Reader, query: ShowTelemetry) -> dict[str, Any]:
        return show_telemetry(reader, query, known)

    return (
        View("ShowTelemetry", "/api/telemetry/summary", ShowTelemetry, show, ("telemetry",), "telemetry:read",
             about="What a running process alone knows is added under `live`."),
        View("ListRates", "/api/telemetry/rates", ListRates, list_rates, ("telemetry",), "telemetry:read"),
    )


def show_telemetry(reader: Reader, query: ShowTelemetry, known: frozenset[str]) -> dict[str, Any]:
    """Sums and rates of a project; all zero for one in which nothing has happened."""
    rows = reader.rows(COUNTS.name, Where("project", "=", query.project), limit=COMBINATIONS)
    newest = reader.rows(MINUTES.name, Where("project", "=", query.project), order=("-minute",), limit=1)
    end = minute_of(query.until) if query.until else (newest[0]["minute"] if newest else 0)
    events = _gathered(rows, ("category", "type"))
    for one in events:
        one["known"] = one["type"] in known
    by_type, by_actor, by_category = _last_day(reader, query.project, end)
    actors, contexts = _gathered(rows, ("actor",)), _gathered(rows, ("category",))
    for one in events:
        one["last_24h"] = by_type.get((one["category"], one["type"]), 0)
    for one in actors:
        one["last_24h"] = by_actor.get(one["actor"], 0)
    for one in contexts:
        one["last_24h"] = by_category.get(one["category"], 0)
    return {
        "project": query.project, "position": reader.position("telemetry"),
        "total": _gathered(rows, ())[0] if rows else {"events": 0, "bytes": 0},
        "unknown_events": sum(one["events"] for one in events if not one["known"]),
        "by_event": events[:KINDS_SHOWN], "by_actor": actors[:KINDS_SHOWN], "by_context": contexts[:KINDS_SHOWN],
        "distinct": {"events": len(events), "actors": len(actors), "contexts": len(contexts)},
        "rates": _rates(reader, query.project, end) if rows else {"until": None},
    }


def list_rates(reader: Reader, query: ListRates) -> dict[str, Any]:
    """A page of buckets."""
    of = Where("project", "=", query.project)
    if query.bucket == "minute":
        return page(
            reader, MINUTES.name, of, order=("-minute",), limit=query.limit, cursor=query.cursor,
            shape=lambda row: {"time": time_of(row["minute"]), "events": row["events"]},
        )
    return page(
        reader, HOURS.name, of, order=("-hour", "category", "type", "actor"), limit=query.limit, cursor=query.cursor,
        shape=lambda row: {"time": time_of(row["hour"] * 60),
                           **{name: row[name] for name in ("category", "type", "actor", "events")}},
    )


def _rates(reader: Reader, project: str, end: int) -> dict[str, Any]:
    longest = max(SPANS.values())
    rows = reader.rows(
        MINUTES.name, Where("project", "=", project), Where("minute", ">", end - longest), Where("minute", "<=", end),
        limit=longest,
    )
    told: dict[str, Any] = {"until": time_of(end), "per_minute": {}}
    for name, minutes in SPANS.items():
        events = sum(row["events"] for row in rows if row["minute"] > end - minutes)
        told["per_minute"][name] = round(events / minutes, 4)
    told["busiest_minute"] = max((row["events"] for row in rows), default=0)
    return told


def _last_day(
    reader: Reader, project: str, end: int
) -> tuple[dict[tuple[str, str], int], dict[str, int], dict[str, int]]:
    """Events of the last 24 hours (whole hours, the newest included) by type, by actor and by category."""
    by_type: dict[tuple[str, str], int] = defaultdict(int)
    by_actor: dict[str, int] = defaultdict(int)
    by_category: dict[str, int] = defaultdict(int)
    hour = end // 60
    for row in reader.rows(
        HOURS.name, Where("project", "=", project), Where("hour", ">", hour - 24), Where("hour", "<=", hour),
        limit=COMBINATIONS,
    ):
        by_type[row["category"], row["type"]] += row["events"]
        by_actor[row["actor"]] += row["events"]
        by_category[row["category"]] += row["events"]
    return by_type, by_actor, by_category


def _gathered(rows: Iterable[Row], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows summed up by some of their columns, the busiest first."""
    sums: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in names)
        one = sums.get(key)
        if one is None:
            sums[key] = {name: row[name] for name in (*names, "events", "bytes", *_ENDS)}
            continue
        one["events"] += row["events"]
        one["bytes"] += row["bytes"]
        if row["first_position"] < one["first_position"]:
            one["first_position"], one["first_time"] = row["first_position"], row["first_time"]
        if row["last_position"] > one["last_position"]:
            one["last_position"], one["last_time"] = row["last_position"], row["last_time"]
    return [sums[key] for key in sorted(sums, key=lambda key: (-sums[key]["events"], key))]


_ENDS: Final = ("first_position", "first_time", "last_position", "last_time")

PROJECTIONS = (
    Projection(
        name="telemetry", version=1, tables=(COUNTS, HOURS, MINUTES), apply=apply, decodes=False,
        about="How many events, of which kind, by whom, and when.",
    ),
)

VIEWS: tuple[View, ...] = ()
"""None without the known event types: ``telemetry``."""
