"""The embedded nats-server: private, durable, restarted, and never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from fixtures_nats import eventually, free_ports
from log_words import events, everything, stream

from adapters.nats import embedded
from adapters.nats.embedded import EmbeddedServer, find_binary
from adapters.nats.leftover import is_ours, read_details
from adapters.nats.log import JetStreamLog
from domain.errors import Refused, Unavailable
from domain.ports import Commit

CHILD = """
import asyncio, sys
from pathlib import Path
from adapters.nats.embedded import EmbeddedServer
async def main():
    server = await EmbeddedServer.start(Path(sys.argv[1]))
    print(server.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def child(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Another process that holds an embedded server on a folder; and that server's process id."""
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_it_keeps_everything_in_its_folder_and_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" folder, Übung' / "nats"

    async def body() -> None:
        server = await EmbeddedServer.start(folder)
        try:
            for name in ("nats.conf", "token", "server.json"):
                assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            details = json.loads((folder / "server.json").read_text())
            assert (details["url"], details["pid"], details["owner"]) == (server.url, server.pid, os.getpid())
            assert details["sync_interval"] == server.sync_interval == "always"
            assert "127.0.0.1" in server.url
            assert (folder / "token").read_text() in server.url
            assert (folder / "token").read_text() not in repr(server)
            log = await JetStreamLog.connect([details["url"]])
            await log.append([Commit(stream(), 0, events(1))])
            await log.close()
            with pytest.raises(Unavailable) as caught:
                await JetStreamLog.connect([f"nats://127.0.0.1:{server.port}"])
            assert caught.value.code == "log_refused"
        finally:
            await server.stop()
        assert server.pid == 0
        assert not (folder / "server.json").exists()

    run(body())


def test_what_it_keeps_is_there_after_a_stop_and_the_token_stays(tmp_path: Path) -> None:
    async def body() -> None:
        tokens = []
        for time in range(3):
            server = await EmbeddedServer.start(tmp_path)
            log = await JetStreamLog.connect([server.url])
            assert await log.head() == 2 * time
            await log.append([Commit(stream(f"s{time}"), 0, events(2))])
            await log.close()
            await server.stop()
            tokens.append((tmp_path / "token").read_text())
        assert len(set(tokens)) == 1

    run(body())


def test_when_it_is_killed_it_comes_back_on_its_port_with_everything_acknowledged(tmp_path: Path) -> None:
    async def body() -> None:
        exits: list[int] = []
        back = asyncio.Event()
        server = await EmbeddedServer.start(tmp_path, on_exit=exits.append, on_restart=back.set)
        log = await JetStreamLog.connect([server.url])
        try:
            port, head = server.port, 0
            for round_ in range(3):
                (head,) = await log.append([Commit(stream(f"s{round_}"), 0, events(1))])
                pid = server.pid
                os.kill(pid, signal.SIGKILL)
                await back.wait()
                back.clear()
                assert server.pid not in (0, pid)
                assert (server.port, read_details(tmp_path)["pid"]) == (port, server.pid)
                assert len(await everything(log)) == head
            assert exits == [-signal.SIGKILL] * 3
            assert server.restarts == 3
        finally:
            await log.close()
            await server.stop()

    run(body())


def test_it_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only the Linux kernel ends children with their parent; elsewhere the next start does")
    holder, server = child(tmp_path)
    assert is_ours(server, tmp_path)
    holder.kill()
    holder.wait()
    eventually(lambda: not is_ours(server, tmp_path))


def test_a_leftover_is_ended_before_a_new_one_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, server = child(tmp_path)
    os.kill(server, signal.SIGSTOP)  # it cannot hear the kernel's signal, as one that hangs
    holder.kill()
    holder.wait()
    assert is_ours(server, tmp_path)

    async def body() -> None:
        embedded_ = await EmbeddedServer.start(tmp_path)
        try:
            assert embedded_.pid != server
            assert not is_ours(server, tmp_path)
            log = await JetStreamLog.connect([embedded_.url])
            assert await log.append([Commit(stream(), 0, events(1))]) == (1,)
            await log.close()
        finally:
            await embedded_.stop()

    monkeypatch.setattr(embedded, "STOP_SECONDS", 1.0)
    run(body())


def test_a_folder_whose_server_belongs_to_a_living_process_is_refused(tmp_path: Path) -> None:
    holder, server = child(tmp_path)
    try:
        with pytest.raises(Refused) as caught:
            run(EmbeddedServer.start(tmp_path))  # type: ignore[arg-type]
        assert caught.value.code == "folder_in_use"
        assert str(holder.pid) in caught.value.message
        assert is_ours(server, tmp_path), "the other's server goes on"
    finally:
        holder.kill()
        holder.wait()
    eventually(lambda: not is_ours(server, tmp_path))


def test_a_stale_pid_file_that_names_a_stranger_harms_nobody(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "nats-server.pid").write_text(str(stranger.pid))
        (tmp_path / "server.json").write_text('{"port": "nonsense"')

        async def body() -> None:
            server = await EmbeddedServer.start(tmp_path)
            await server.stop()

        run(body())
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_ended_in_order_and_started_again_it_is_where_others_are_still_looking_for_it(tmp_path: Path) -> None:
    async def body() -> None:
        first = await EmbeddedServer.start(tmp_path)
        log = await JetStreamLog.connect([first.url])
        try:
            await first.stop()
            second = await EmbeddedServer.start(tmp_path)
            try:
                assert second.url == first.url
                assert await log.head() == 0
            finally:
                await second.stop()
        finally:
            await log.close()

    run(body())


def test_a_port_that_somebody_else_took_is_left_to_them(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "server.json").write_text(json.dumps({"port": port}))

    async def body() -> None:
        squatter = await asyncio.start_server(lambda reader, writer: writer.write(b"INFO {}\r\n"), "127.0.0.1", port)
        server = await EmbeddedServer.start(tmp_path)
        assert server.port != port
        await server.stop()
        squatter.close()

    run(body())


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the store should be")
    with pytest.raises(Unavailable) as caught:
        run(EmbeddedServer.start(tmp_path))  # type: ignore[arg-type]
    assert caught.value.code == "nats_server_unstartable"
    assert "not a directory" in caught.value.message
    assert caught.value.remediation
    (tmp_path / "blocked").write_text("")
    with pytest.raises(Unavailable):
        run(EmbeddedServer.start(tmp_path / "blocked"))  # type: ignore[arg-type]
    with pytest.raises(Unavailable) as caught:
        find_binary([tmp_path], path=str(tmp_path))
    assert "no nats-server" in caught.value.message


def test_the_terminals_interrupt_does_not_reach_it(tmp_path: Path) -> None:
    async def body() -> None:
        server = await EmbeddedServer.start(tmp_path)
        try:
            assert os.getsid(server.pid) != os.getsid(0)
            assert os.getpgid(server.pid) != os.getpgid(0)
        finally:
            await server.stop()

    run(body())
