"""The two JetStream streams of a log: made on first use, checked and where it is safe mended on every later one."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import orjson

from adapters.nats import wire
from adapters.nats.connection import Connection, Lost, Unanswered
from domain.errors import ComfyVNError, Invalid, Remedy, Unavailable

OLDEST: Final = (2, 12)
"""The first nats-server with atomic batches."""

FIXED: Final = {"storage": "file", "retention": "limits", "sealed": False, "persist_mode": None, "mirror": None,
                "sources": None}
"""What cannot be mended on a stream that exists, or only by losing events."""


ALONE: Final = frozenset({10052, 10074})
"""JetStream's codes for: copies need a cluster."""

PASSING: Final = frozenset({10005, 10008, 10023, 10058})
"""JetStream's codes for what may be over in a moment: no suitable peers, not available, no resources, name in use."""


class ApiError(Exception):
    """JetStream said no; ``code`` is its error code."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code
        self.description = description


class Info(NamedTuple):
    """A stream as JetStream describes it."""

    config: dict[str, Any]
    state: dict[str, Any]
    cluster: dict[str, Any]

    @property
    def replicas(self) -> int:
        return int(self.config.get("num_replicas", 1))

    @property
    def last(self) -> int:
        return int(self.state["last_seq"])


async def api(connection: Connection, subject: str, request: Any = None, *, seconds: float = 5.0) -> dict[str, Any]:
    """One request to JetStream's API; raises ``ApiError`` and what ``Connection.ask`` raises."""
    body = b"" if request is None else orjson.dumps(request)
    _, answer = await connection.ask(f"$JS.API.{subject}", body, seconds=seconds)
    told: dict[str, Any] = orjson.loads(answer)
    error = told.get("error")
    if error:
        raise ApiError(error.get("err_code", error.get("code", 0)), error.get("description", "unknown error"))
    return told


async def info(connection: Connection, name: str, *, seconds: float = 5.0) -> Info:
    """The stream as it is; raises as ``api``."""
    told = await api(connection, f"STREAM.INFO.{name}", seconds=seconds)
    return Info(told["config"], told["state"], told.get("cluster") or {})


def log_config(name: str, subjects: str, replicas: int, limit: int) -> dict[str, Any]:
    """The stream of events. ``limit`` is the largest event with its headers, in bytes."""
    return {
        "name": name, "description": "ComfyVN: every event, for ever.", "subjects": [subjects],
        "storage": "file", "retention": "limits", "discard": "new", "num_replicas": replicas,
        "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msgs_per_subject": -1, "max_consumers": -1,
        "max_msg_size": limit, "allow_direct": True, "allow_atomic": True, "deny_delete": True, "deny_purge": True,
        "republish": {"src": subjects, "dest": f"live.{wire.numbered(subjects)}"},
    }


def snapshot_config(name: str, replicas: int) -> dict[str, Any]:
    """The stream of snapshots: the newest one of each aggregate. Deleting it costs time and nothing else."""
    return {
        "name": f"{name}_SNAPSHOTS", "description": "ComfyVN: folded states; may be deleted at any time.",
        "subjects": ["snapshot.>"], "storage": "file", "retention": "limits", "discard": "old",
        "num_replicas": replicas, "max_msgs_per_subject": 1, "allow_direct": True,
    }


async def ensure(
    connection: Connection, name: str, subjects: str, *, replicas: int | None, limit: int, seconds: float
) -> Info:
    """Makes the stream of events and the one of snapshots, or brings what is there up to date.

    Raises ``Unavailable`` when the server is too old, has no JetStream or too few members, and ``Invalid`` when
    the stream that is there cannot hold a log.
    """
    check_version(connection)
    wanted = replicas or (3 if connection._server_info.get("cluster") else 1)
    config = log_config(name, subjects, wanted, limit)
    made = await _ensured(connection, config, explicit=replicas is not None, seconds=seconds)
    if subjects == wire.SUBJECTS:
        await _ensured(connection, snapshot_config(name, made.replicas), explicit=False, seconds=seconds)
    return made


def check_version(connection: Connection) -> None:
    """Raises ``Unavailable`` for a server that cannot commit several events at once."""
    version = connection.connected_server_version
    if (version.major, version.minor) < OLDEST:
        raise Unavailable(
            f"nats-server {version.major}.{version.minor}.{version.patch} cannot commit several events at once; "
            f"{OLDEST[0]}.{OLDEST[1]} is the oldest that can.",
            error="log_too_old",
            remediation=[Remedy("Upgrade nats-server, or leave COMFYVN_NATS_URL empty to use the embedded one.",
                                "upgrade_nats_server")],
        )


async def _ensured(connection: Connection, wanted: dict[str, Any], *, explicit: bool, seconds: float) -> Info:
    # A cluster that has just started answers "no leader" or "no suitable peers" for a while: ask again until it stands.
    loop = asyncio.get_running_loop()
    begun = loop.time()
    end = begun + seconds
    while True:
        try:
            return await _ensured_once(connection, wanted, explicit=explicit)
        except (ApiError, Lost, Unanswered, TimeoutError) as error:
            code = error.code if isinstance(error, ApiError) else 0
            if code in ALONE and wanted["num_replicas"] > 1 and not explicit:
                wanted = {**wanted, "num_replicas": 1}  # a single server that calls itself a cluster
                continue
            if isinstance(error, Unanswered) and not connection._server_info.get("jetstream"):
                end = min(end, begun + 2)  # this server has none; if another one has, it answers sooner than that
            if loop.time() >= end or (isinstance(error, ApiError) and code not in PASSING):
                raise _not_made(wanted, error) from error
        await asyncio.sleep(0.1)
        await connection.ready(end - loop.time())


async def _ensured_once(connection: Connection, wanted: dict[str, Any], *, explicit: bool) -> Info:
    name = wanted["name"]
    try:
        there = await info(connection, name)
    except ApiError as error:
        if error.code != 10059:  # stream not found
            raise
        await api(connection, f"STREAM.CREATE.{name}", wanted, seconds=10)
        return await info(connection, name)
    for key, value in FIXED.items():
        found = there.config.get(key)
        if found not in (value, None, False, [], "default"):
            raise _unfit(name, key, found, value)
    if not explicit:
        # More copies than this process would choose are somebody's choice; fewer are a risk.
        wanted = {**wanted, "num_replicas": max(wanted["num_replicas"], there.replicas)}
    differing = {key: value for key, value in wanted.items() if _differs(there.config.get(key), value)}
    if not differing:
        return there
    try:
        await api(connection, f"STREAM.UPDATE.{name}", {**there.config, **differing}, seconds=10)
    except ApiError as error:
        if error.code in PASSING | ALONE:
            raise
        key, value = next(iter(differing.items()))
        raise _unfit(name, key, there.config.get(key), value, str(error)) from error
    return await info(connection, name)


def _differs(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return any((found or {}).get(key) != value for key, value in wanted.items())
    if wanted in (-1, 0, False):
        return found not in (wanted, None, False, 0, -1)
    return bool(found != wanted)


def _unfit(name: str, key: str, found: Any, wanted: Any, reason: str = "") -> ComfyVNError:
    return Invalid(
        f"The stream {name} cannot hold the log: its {key} is {found!r} and must be {wanted!r}"
        + (f" ({reason})." if reason else "."),
        error="log_stream_unfit",
        remediation=[Remedy("Name another stream with COMFYVN_NATS_STREAM, or remove this one if it is not needed.",
                            "choose_stream")],
        detail={"stream": name, "setting": key},
    )


def _not_made(wanted: dict[str, Any], error: Exception) -> ComfyVNError:
    name, replicas = wanted["name"], wanted["num_replicas"]
    code = error.code if isinstance(error, ApiError) else 0
    if code == 10065:
        return Invalid(
            f"Another stream on this server already takes the subjects {', '.join(wanted['subjects'])}.",
            error="log_subjects_taken",
            remediation=[Remedy("Give each studio a NATS account or a server of its own.", "separate_accounts")],
            detail={"stream": name},
        )
    if code in (10039, 10076) or isinstance(error, Unanswered):
        reason, text = "JetStream is not enabled for this account.", "Switch JetStream on in its configuration."
    elif replicas > 1 and code in PASSING | ALONE:
        reason = f"The cluster cannot keep {replicas} copies now: {error}."
        text = "Start the missing members, or set COMFYVN_NATS_REPLICAS to what the cluster has."
    else:
        reason, text = f"JetStream does not answer: {error or type(error).__name__}.", "Check the server and try again."
    return Unavailable(
        f"The stream {name} cannot be used. {reason}",
        error="log_unavailable",
        remediation=[Remedy(text, "check_nats_server")],
        detail={"stream": name, "replicas": replicas},
    )
