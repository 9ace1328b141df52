"""The shapes of deploy/ with real servers: several doors and workers on an outside log and PostgreSQL."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fixtures_nats import Cluster, Server
from fixtures_studio import RunningServer, RunningWorker, comfyvn, wait_until
from typer.main import get_command

from adapters.nats.embedded import find_binary
from gateways import cli_commands
from services.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"

ServerFactory = Callable[..., RunningServer]


WorkerFactory = Callable[[], RunningWorker]


@pytest.fixture
def workers() -> Iterator[Callable[[Path, dict[str, str]], WorkerFactory]]:
    """``workers(data, environment)``: what starts one more worker there; all of them are ended after the test."""
    made: list[RunningWorker] = []

    def of(data: Path, environment: dict[str, str]) -> WorkerFactory:
        def start() -> RunningWorker:
            made.append(RunningWorker(data, environment=environment))
            return made[-1].start()

        return start

    yield of
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.stop()
        print(one.said())  # shown with a test that failed


def fork(client: httpx.Client, name: str) -> int:
    answer = client.post("/api/commands/ForkWorldline", params={"project": "demo"}, json={"worldline_id": name})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["position"])


def listed(client: httpx.Client, position: int) -> set[str]:
    answer = client.get("/api/pov/worlds", params={"project": "demo", "min_position": position})
    assert answer.status_code == 200, answer.text
    return {one["id"] for one in answer.json()["items"]}


def test_a_studio_server_has_several_doors_and_a_worker(
    nats_server: Server, postgres_url: str, server_factory: ServerFactory, workers: Callable[..., WorkerFactory],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "studio"
    environment = {"COMFYVN_NATS_URL": nats_server.url, "COMFYVN_DATABASE_URL": postgres_url}
    one = server_factory("--no-worker", data=data, environment=environment)
    two = server_factory("--no-worker", data=data, environment=environment)
    assert (one.ready["log"], one.ready["read_side"]) == ("outside", "postgresql")
    workers(data, environment)()
    with one.client() as here, two.client() as there:
        assert listed(there, fork(here, "asked-at-one")) == {"main", "asked-at-one"}
        assert listed(here, fork(there, "asked-at-two")) == {"main", "asked-at-one", "asked-at-two"}
        again = {"worldline_id": "asked-at-two"}
        raced = here.post("/api/commands/ForkWorldline", params={"project": "demo"}, json=again)
        assert raced.status_code == 409, "what one door has decided, the other knows"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert comfyvn("projections", "verify", data=data).returncode == 0
    assert not (data / "nats").exists()
    assert not (data / "read.db").exists()


def test_a_studio_farm_goes_on_without_one_worker_and_one_server(
    nats_cluster: Cluster, postgres_url: str, server_factory: ServerFactory, workers: Callable[..., WorkerFactory],
    tmp_path: Path,
) -> None:
    environment = {"COMFYVN_NATS_URL": ",".join(nats_cluster.urls), "COMFYVN_DATABASE_URL": postgres_url}
    data = tmp_path / "studio"
    door = server_factory("--no-worker", data=data, environment=environment)
    crew = workers(data, environment)
    first, _ = crew(), crew()
    with door.client() as client:
        assert listed(client, fork(client, "whole")) == {"main", "whole"}
        first.kill()
        assert listed(client, fork(client, "one-worker")) == {"main", "whole", "one-worker"}
        nats_cluster.kill(0)
        try:
            asked: dict[str, Any] = {"worldline_id": "two-servers"}

            def forked() -> bool:
                answer = client.post("/api/commands/ForkWorldline", params={"project": "demo"}, json=asked,
                                     headers={"Idempotency-Key": "two-servers"})
                assert answer.status_code in (200, 201, 503), answer.text
                return answer.status_code != 503

            wait_until(forked, "a new leader")
            wait_until(lambda: client.get("/health").status_code == 200, "health")
            assert "two-servers" in listed(client, 3)
        finally:
            nats_cluster.heal()


# --- the files in deploy/ ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("compose.*.yaml")), ids=lambda file: file.name)
def test_a_compose_file_starts_commands_and_settings_that_exist(file: Path) -> None:
    told = yaml.safe_load(file.read_text())
    ours = [one for one in told["services"].values() if one["image"] == "comfyvn"]
    assert ours
    for service in ours:
        command, *options = service["command"]
        known = get_command(cli_commands.app).commands[command]  # type: ignore[attr-defined]
        assert set(options) <= {one for given in known.params for one in (*given.opts, *given.secondary_opts)}
        for name in service.get("environment", {}):
            assert not name.startswith("COMFYVN_") or name.removeprefix("COMFYVN_").lower() in Settings.model_fields
    for service in told["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in told["volumes"] or (DEPLOY / source).is_file()


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("nats-*.conf")), ids=lambda file: file.name)
def test_a_configuration_of_nats_is_one(file: Path) -> None:
    environment = {
        "SERVER_NAME": "'nats-1'", "NATS_TOKEN": "'12ab'", "CLUSTER_PASSWORD": "'3e5'",
        **{f"ROUTE_{number}": f"'nats-route://route:3e5@nats-{number}:6222'" for number in (1, 2, 3)},
    }
    checked = subprocess.run(
        [str(find_binary()), "-t", "-c", str(file)], capture_output=True, text=True, env={**os.environ, **environment},
        timeout=60, check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "sync_interval: always" in file.read_text()


def test_the_unit_and_the_image_start_what_exists() -> None:
    unit = (DEPLOY / "comfyvn.service").read_text()
    assert "ExecStart=/opt/comfyvn/bin/comfyvn serve" in unit
    assert "KillMode=mixed" in unit
    image = (DEPLOY / "Dockerfile").read_text()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text()
    for line in image.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (DEPLOY.parent / source).exists()
                assert f"!{source}" in ignored
