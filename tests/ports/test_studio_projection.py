"""Somebody else's projection reads the studio's log through the ``eventsourcing`` library, past and live."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import ProgrammingError, StoredEvent
from fixtures_nats import Server
from log_words import event, events, stream

from adapters.nats.studio import StudioEvent, StudioMapper
from domain.ports import Commit

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "eventsourcing_projection.py"


class Studio(Application[str]):
    pass


def _append(server: Server, *commits: Commit) -> int:
    async def body() -> int:
        log = await server.connect()
        try:
            return (await log.append(commits))[-1]
        finally:
            await log.close()

    return asyncio.run(body())


def _env(server: Server) -> dict[str, str]:
    return {"NATS_URL": server.url, "NATS_STREAM": server.stream}


@pytest.fixture
def example() -> ModuleType:
    spec = spec_from_file_location("eventsourcing_projection", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_counts_what_was_and_what_comes(nats_server: Server, example: ModuleType) -> None:
    _append(nats_server, Commit(stream("a"), 0, events(3)), Commit(stream("b"), 0, (event(type="JobQueued"),)))
    with example.runner(_env(nats_server)) as running:
        running.wait(4, timeout=60)
        assert running.projection.view.events == {"SceneOpened": 3, "JobQueued": 1}
        position = _append(nats_server, Commit(stream("c"), 0, (event(type="JobQueued"),)))
        running.wait(position, timeout=60)
        assert running.projection.view.events["JobQueued"] == 2
    running.app.close()


def test_the_example_runs_as_it_is_written(nats_server: Server) -> None:
    _append(nats_server, Commit(stream("a"), 0, events(3)))
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], env=os.environ | _env(nats_server) | {"PYTHONPATH": str(EXAMPLE.parents[2])},
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "SceneOpened"]


def test_the_studios_events_in_the_librarys_words(nats_server: Server) -> None:
    _append(nats_server, Commit(stream("a"), 0, (event(actor="Ana"), event(2, type="SceneRenamed"))),
            Commit(stream("b"), 0, (event(data=b"not json"),)))
    app = Studio({"PERSISTENCE_MODULE": "adapters.nats.studio", **_env(nats_server)})
    recorder = app.recorder
    assert recorder.max_notification_id() == 3
    found = recorder.select_notifications(None, 10)
    assert [(one.id, one.originator_id, one.originator_version, one.topic) for one in found] == [
        (1, "vn.demo.main.scene.a", 1, "SceneOpened"), (2, "vn.demo.main.scene.a", 2, "SceneRenamed"),
        (3, "vn.demo.main.scene.b", 1, "SceneOpened"),
    ]
    assert [one.id for one in recorder.select_notifications(1, 10, inclusive_of_start=False)] == [2, 3]
    assert [one.id for one in recorder.select_notifications(1, 10, topics=["SceneRenamed"])] == [2]
    assert [one.id for one in recorder.select_notifications(2, 1, stop=3)] == [2]
    told: Any = app.mapper.to_domain_event(found[0])
    assert isinstance(told, StudioEvent)
    assert (told.type, told.actor, told.data, told.stream) == ("SceneOpened", "Ana", {"title": "Harbour"}, stream("a"))
    assert told.timestamp.year == 2026
    undecodable: Any = app.mapper.to_domain_event(found[2])
    assert undecodable.data == {}
    one = recorder.select_events("vn.demo.main.scene.a", desc=True, limit=1)
    assert [event.originator_version for event in one] == [2]
    assert recorder.select_events("not a subject") == []
    app.close()


def test_the_studios_log_cannot_be_written_around_the_studio(nats_server: Server) -> None:
    _append(nats_server, Commit(stream("a"), 0, events(1)))
    app = Studio({"PERSISTENCE_MODULE": "adapters.nats.studio", **_env(nats_server)})
    with pytest.raises(ProgrammingError):
        app.recorder.insert_events([StoredEvent("vn.demo.main.scene.a", 2, "SceneOpened", b"{}")])
    for make in (app.factory.process_recorder, app.factory.aggregate_recorder, app.factory.tracking_recorder):
        with pytest.raises(ProgrammingError):
            make()
    assert isinstance(app.mapper, StudioMapper)
    app.close()
