"""The processes of a server: whichever dies is started again, and none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from consoles import console
from fixtures_studio import RunningServer, RunningWorker, is_alive, wait_until

from services import supervisor
from services.supervisor import Child

ServerFactory = Callable[..., RunningServer]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("supervised") / "studio")
    yield server
    server.stop()


@pytest.fixture
def shared(kept: RunningServer) -> RunningServer:
    """One server that each test hurts in its way, in a project of its own; whoever finds it ended starts it."""
    if kept.process is None or kept.process.poll() is not None:
        kept.start()
    kept.worker()
    kept.errors.clear()
    return kept


def fork(client: httpx.Client, name: str, project: str = "demo") -> httpx.Response:
    return client.post(
        "/api/commands/ForkWorldline", params={"project": project}, json={"worldline_id": name},
        headers={"Idempotency-Key": f"fork-{name}"},
    )


def listed(client: httpx.Client, position: int, project: str = "demo") -> set[str]:
    found = client.get("/api/pov/worlds", params={"project": project, "min_position": position, "limit": 500})
    assert found.status_code == 200, found.text
    return {one["id"] for one in found.json()["items"]}


def is_well(client: httpx.Client) -> bool:
    return client.get("/health").status_code == 200


def restarts(client: httpx.Client) -> int:
    return int(client.get("/status").json()["worker"]["restarts"])


# --- one child --------------------------------------------------------------------------------------------------


async def until(true: Callable[[], Any]) -> Any:
    async with asyncio.timeout(60):
        while not (found := true()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)
    return found


def child(code: str, **otherwise: Any) -> Child:
    return Child("probe", [sys.executable, "-c", code], dict(os.environ), **otherwise)


def test_a_child_that_dies_is_started_again_and_counted() -> None:
    async def story() -> None:
        one = child("import sys; sys.stdin.read()")
        running = asyncio.create_task(one.run())
        first = await until(lambda: one.status.pid)
        os.kill(first, signal.SIGKILL)
        second = await until(lambda: one.status.pid if one.status.restarts else None)
        assert second != first
        assert (one.status.last_exit, one.status.restarts) == (-signal.SIGKILL, 1)
        running.cancel()
        await asyncio.wait([running])
        assert not is_alive(second)
        assert (one.told()["state"], one.told()["pid"], one.status.pid) == ("ended", None, None)
        assert one.told()["restarts"] == 1, "an end that was asked for is no restart"

    asyncio.run(story())


def test_pauses_between_starts_grow() -> None:
    pauses: list[float] = []

    async def remember(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    async def story() -> None:
        one = child("raise SystemExit(3)", rest=remember)
        with pytest.raises(asyncio.CancelledError):
            await one.run()
        assert one.status.last_exit == 3

    asyncio.run(story())
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_child_that_cannot_be_started_is_tried_again() -> None:
    async def story() -> None:
        one = Child("probe", ["/nowhere/at/all"], {})
        running = asyncio.create_task(one.run())
        await until(lambda: one.status.restarts >= 1)
        assert (one.status.pid, one.told()["pid"]) == (None, None), "there never was a process"
        running.cancel()
        await asyncio.wait([running])
        assert (one.told()["state"], one.told()["pid"]) == ("ended", None)

    asyncio.run(story())


def test_a_child_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.1)
    deaf = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); sys.stdin.read()"

    async def story() -> None:
        one = child(f"{deaf}; import time; time.sleep(600)")
        running = asyncio.create_task(one.run())
        pid = await until(lambda: one.status.pid)
        running.cancel()
        await asyncio.wait([running])
        assert not is_alive(pid)

    asyncio.run(story())


# --- a whole server ---------------------------------------------------------------------------------------------


def test_a_killed_log_comes_back_and_no_command_is_told_a_false_success(shared: RunningServer) -> None:
    server = shared
    told: dict[str, tuple[int, int]] = {}
    done = threading.Event()
    with server.client() as client:
        earlier = client.get("/status").json()["worker"]["log_server"]["restarts"]

    def ask() -> None:
        with server.client() as client:
            number = 0
            while not done.is_set():
                number += 1
                name = f"w{earlier}-{number}"
                answer = fork(client, name)
                told[name] = (answer.status_code, answer.json().get("position", 0))
                if answer.status_code == 503:
                    problem = answer.json()
                    assert problem["error"]
                    assert problem["remediation"]

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(2):
            count = len(told)
            wait_until(lambda count=count: len(told) > count + 5, "commands before the kill")
            before = server.nats()["pid"]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda before=before: server.nats()["pid"] != before, "a new nats-server")
    finally:
        done.set()
        asking.join()
    with server.client() as client:
        wait_until(lambda: is_well(client), "health")
        restarted = {"pid": server.nats()["pid"], "restarts": earlier + 2}
        assert client.get("/status").json()["worker"]["log_server"] == restarted
        assert fork(client, f"afterwards-{earlier}").status_code == 201
        answers = {name: fork(client, name) for name in told}
        assert {status for status, _ in told.values()} <= {201, 503}
        for name, answer in answers.items():
            status, position = told[name]
            assert answer.status_code in (200, 201), answer.text
            assert status == 503 or answer.json()["position"] == position, f"{name} was acknowledged and then lost"
        newest = max(answer.json()["position"] for answer in answers.values())
        assert set(told) <= listed(client, newest)
    assert console("log", "verify", data=server.data).returncode == 0
    assert console("projections", "verify", data=server.data).returncode == 0


def test_a_killed_worker_comes_back_and_counts_on(shared: RunningServer) -> None:
    server, first, project = shared, shared.worker(), "counted"
    with server.client() as client:
        earlier = restarts(client)
        assert fork(client, "before", project).status_code == 201
        os.kill(first, signal.SIGKILL)
        answer = fork(client, "while-it-is-away", project)
        assert answer.status_code == 201, "commands need no worker"
        worker = wait_until(
            lambda: (
                (found := client.get("/status").json()["worker"])["restarts"] == earlier + 1 and found["pid"] and found
            ),
            "the worker's restart",
        )
        assert worker["last_exit"] == -signal.SIGKILL
        assert worker["pid"] == server.worker() != first
        wait_until(lambda: _counted(client, answer.json()["position"]), "the read models")
        assert {"before", "while-it-is-away"} <= listed(client, 0, project)


def _counted(client: httpx.Client, position: int) -> bool:
    return all(one["position"] >= position for one in client.get("/status").json()["projections"])


def test_a_second_server_on_the_folder_is_refused_and_says_who_holds_it(shared: RunningServer) -> None:
    server = shared
    second = console("serve", "--port", "0", data=server.data)
    assert second.returncode == 4
    assert server.url in second.stderr
    assert str(server.pid) in second.stderr
    assert "Traceback" not in second.stderr
    with server.client() as client:
        assert is_well(client)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_within_seconds(shared: RunningServer, number: signal.Signals) -> None:
    server = shared
    pids = [server.pid, server.worker(), server.nats()["pid"]]
    with httpx.stream("GET", server.url + "/events/sse", timeout=60) as stream:
        assert stream.status_code == 200
        assert server.process is not None
        server.process.send_signal(number)
        assert server.process.wait(30) == 0, server.said()
    assert not [pid for pid in pids if is_alive(pid)]
    assert not (server.data / "server.json").exists()
    assert "Traceback" not in server.said()


def test_a_server_killed_with_its_address_leaves_nothing_in_the_way(shared: RunningServer) -> None:
    server, project = shared, "killed"
    with server.client() as client:
        assert fork(client, "acknowledged", project).status_code == 201
    worker, nats = server.worker(), server.nats()["pid"]
    server.kill()
    server.restart()
    with server.client() as client:
        answer = fork(client, "afterwards", project)
        assert answer.status_code == 201, answer.text
        assert listed(client, answer.json()["position"], project) == {"main", "acknowledged", "afterwards"}
    wait_until(lambda: not is_alive(worker), "the old worker's end")
    assert not is_alive(nats)


def test_a_server_without_a_worker_and_a_worker_beside_it(server_factory: ServerFactory) -> None:
    server = server_factory("--no-worker")
    with server.client() as client:
        answer = fork(client, "asked")
        assert answer.status_code == 201
        assert client.get("/status").json()["worker"]["state"] == "elsewhere"
        worker = RunningWorker(server.data).start()
        try:
            wait_until(lambda: _counted(client, answer.json()["position"]), "the worker")
            assert "asked" in listed(client, 0)
        finally:
            assert worker.stop() == 0


def test_a_port_that_is_taken_is_a_clear_refusal(shared: RunningServer, tmp_path: Path) -> None:
    second = console("serve", "--port", str(shared.ready["port"]), data=tmp_path / "other")
    assert second.returncode == 4
    assert "--port" in second.stderr
    assert not (tmp_path / "other").exists(), "nothing is made for a server that cannot listen"


def test_a_door_that_others_can_reach_needs_a_token_first(tmp_path: Path) -> None:
    refused = console("serve", "--host", "0.0.0.0", "--port", "0", data=tmp_path / "studio")
    assert refused.returncode == 4
    assert "comfyvn token create" in refused.stderr


def test_a_server_that_is_told_to_end_while_it_starts_ends(tmp_path: Path) -> None:
    running = RunningServer(tmp_path / "studio")
    starting = threading.Thread(target=lambda: _start_anyhow(running))
    starting.start()
    wait_until(lambda: (tmp_path / "studio" / "lock").exists(), "the lock")
    assert running.process is not None
    running.process.terminate()
    assert running.process.wait(60) in (0, -signal.SIGTERM)
    starting.join()
    lock = console("log", "tail", data=tmp_path / "studio")
    assert lock.returncode in (0, 5), lock.stderr


def _start_anyhow(running: RunningServer) -> None:
    try:
        running.start()
    except AssertionError:
        return
