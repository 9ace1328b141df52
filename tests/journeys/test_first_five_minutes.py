"""The first five minutes of somebody new: start it, write something, look at it, follow it, break it, prove it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import httpx
from consoles import console
from fixtures_studio import RunningServer, comfyvn, wait_until

SCENE = {
    "id": "arrival", "title": "Arrival", "start": "hall",
    "nodes": [
        {"id": "hall", "text": "The train is late.", "choices": [{"target": "platform", "label": "Wait."}]},
        {"id": "platform", "text": "Rain.", "end": True},
    ],
}


def test_the_first_five_minutes(server_factory: Callable[..., RunningServer]) -> None:
    server = server_factory()
    with server.client() as client:
        assert client.get("/health").json()["status"] == "ok"
        assert "text/html" in client.get("/").headers["content-type"]

        position = _write(client)
        _look(client, position)
        _fork(client)
        _follow(server, client)

    _prove(server)
    before = json.loads(console("projections", "verify", "--json", data=server.data).stdout)["tables"]

    server.kill()
    server.restart()
    with server.client() as client:
        scene = client.get("/api/scenes/arrival", params={"project": "mine", "min_position": position}).json()
        assert scene["title"] == "Late arrival", "what was acknowledged is there after kill -9"
        assert client.get("/status").json()["projections"]
    after = json.loads(console("projections", "verify", "--json", data=server.data).stdout)["tables"]
    assert after == before
    assert server.stop() == 0

    tail = comfyvn("log", "tail", "--json", data=server.data)
    assert json.loads(tail.stdout.splitlines()[-1])["type"] == "SceneEdited", "also without a server"
    _prove(server)


def _write(client: httpx.Client) -> int:
    made = client.post("/api/scenes", params={"project": "mine"}, json=SCENE)
    assert made.status_code == 201, made.text
    edit = {"scene_id": "arrival", "title": "Late arrival"}
    headers = {"Idempotency-Key": "first-edit", "If-Match": f'"{made.json()["version"]}"'}
    first = client.post("/api/commands/RenameScene", params={"project": "mine"}, json=edit, headers=headers)
    again = client.post("/api/commands/RenameScene", params={"project": "mine"}, json=edit, headers=headers)
    assert first.status_code == 200, first.text
    assert again.json()["position"] == first.json()["position"]
    wrong = client.post("/api/scenes", params={"project": "mine"}, json={**SCENE, "colour": "blue"})
    assert wrong.headers["content-type"] == "application/problem+json"
    assert "colour" in wrong.text
    assert wrong.json()["remediation"]
    return int(first.json()["position"])


def _look(client: httpx.Client, position: int) -> None:
    query = {"project": "mine", "min_position": position}
    assert client.get("/api/scenes/arrival", params=query).json()["title"] == "Late arrival"
    assert client.get("/api/scenes/arrival", params=query | {"as_of": position - 1}).json()["title"] == "Arrival"
    happened = client.get("/api/timeline", params=query).json()["items"]
    assert [one["position"] for one in happened] == sorted((one["position"] for one in happened), reverse=True)


def _fork(client: httpx.Client) -> None:
    forked = client.post("/api/commands/ForkWorldline", params={"project": "mine"}, json={"worldline_id": "what-if"})
    assert forked.status_code == 201, forked.text
    query = {"project": "mine", "worldline": "what-if"}
    edit = {"scene_id": "arrival", "node_id": "platform", "text": "Sun."}
    there = client.post("/api/commands/EditNode", params=query, json=edit)
    assert there.status_code == 200, there.text
    texts = {}
    for line in ("main", "what-if"):
        asked = {"project": "mine", "worldline": line, "min_position": there.json()["position"]}
        scene = client.get("/api/scenes/arrival", params=asked).json()
        texts[line] = {node["id"]: node["text"] for node in scene["nodes"]}["platform"]
    assert texts == {"main": "Rain.", "what-if": "Sun."}


def _follow(server: RunningServer, client: httpx.Client) -> None:
    following = subprocess.Popen(
        [sys.executable, "-m", "gateways.cli", "log", "tail", "-f", "-n", "0", "--type", "SceneEdited", "--json",
         "--data", str(server.data)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        with client.stream("GET", "/events/sse", params={"project": "mine"}) as stream:
            lines = stream.iter_lines()
            next(lines)
            assert following.stdout is not None
            # Titles are renamed until the console's follower, which starts in its own time, has seen one.
            with server.client() as other:
                number = iter(range(1000))

                def renamed() -> bool:
                    edit = {"scene_id": "arrival", "title": f"Title {next(number)}"}
                    answer = other.post("/api/commands/RenameScene", params={"project": "mine"}, json=edit)
                    assert answer.status_code == 200
                    return _has_line(following)

                wait_until(renamed, "the follower")
                edit = {"scene_id": "arrival", "title": "Late arrival"}
                assert other.post("/api/commands/RenameScene", params={"project": "mine"}, json=edit).is_success
            assert json.loads(following.stdout.readline())["type"] == "SceneEdited"
            assert next(line for line in lines if line.startswith("data:"))
    finally:
        following.terminate()
        following.wait()
        assert following.stdout is not None
        following.stdout.close()


def _has_line(process: subprocess.Popen[str]) -> bool:
    import select

    return bool(select.select([process.stdout], [], [], 0.05)[0])


def _prove(server: RunningServer) -> None:
    for words in (("projections", "verify"), ("projections", "rebuild"), ("projections", "verify"), ("log", "verify")):
        done = console(*words, data=server.data)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    doctor = json.loads(console("doctor", "--json", data=server.data).stdout)
    assert doctor["verdict"] == "well", doctor
