"""With the console from one folder to another: the same file again, and `log verify` names every rewriting."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from consoles import console
from fixtures_studio import RunningServer, comfyvn, wait_until

from domain.ports import Recorded, Stream
from services.wire import event_line, parse_line

Lines = list[bytes]


def history(count: int) -> Lines:
    told = {"parent": "main", "lane": "scratch", "pov": "narrator", "root_node": "start", "notes": "", "metadata": {}}
    return [
        event_line(Recorded(
            number, Stream("demo", "-", "worldline", f"w{number}"), "WorldlineForked", 1,
            json.dumps({"worldline_id": f"w{number}", "forked_at": 0, "label": f"Line {number}", **told}).encode(),
            f"e{number}", 1, f"2026-01-02T03:04:{number % 60:02}Z", "author", f"c{number}", "r", f"c{number}", "",
        ))
        for number in range(1, count + 1)
    ]


def renumbered(lines: Lines) -> Lines:
    return [event_line(parse_line(line)._replace(position=number)) for number, line in enumerate(lines, start=1)]


def written(place: Path, lines: Lines) -> Path:
    place.write_bytes(b"".join(line + b"\n" for line in lines))
    return place


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Lines]:
    """A folder with an audited log, and the lines of it."""
    folder = tmp_path_factory.mktemp("audited")
    lines = history(40)
    done = console("log", "import", str(written(folder / "log.jsonl", lines)), data=folder / "studio")
    assert done.returncode == 0, done.stderr
    return folder / "studio", lines


def test_export_gives_the_imported_file_again_and_it_is_verified(studio: tuple[Path, Lines], tmp_path: Path) -> None:
    data, lines = studio
    assert console("log", "export", str(tmp_path / "again.jsonl"), data=data).returncode == 0
    assert (tmp_path / "again.jsonl").read_bytes() == b"".join(line + b"\n" for line in lines)
    done = console("log", "verify", "--json", data=data)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["ok"], told["checked"], told["unaudited"], told["signed"]) == (True, 40, 0, 40)


CHANGES: dict[str, tuple[Callable[[Lines], Lines], str, int]] = {
    "removed": (lambda e: renumbered(e[:10] + e[11:]), "removed", 11),
    "cut off": (lambda e: e[:30], "truncated", 31),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_rewritten_log_beside_the_true_chain_is_named(
    studio: tuple[Path, Lines], tmp_path: Path, change: str
) -> None:
    data, lines = studio
    make, kind, position = CHANGES[change]
    forged = written(tmp_path / "forged.jsonl", make(list(lines)))
    done = console("log", "import", str(forged), data=tmp_path / "forged")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "forged" / "audit")
    shutil.copytree(data / "audit", tmp_path / "forged" / "audit")
    done = console("log", "verify", "--json", data=tmp_path / "forged")
    assert done.returncode == 1, done.stdout + done.stderr
    first = json.loads(done.stdout)["findings"][0]
    assert (first["kind"], first["position"]) == (kind, position)


def test_elsewhere_an_export_is_verified_with_the_checkpoints_and_the_key(
    studio: tuple[Path, Lines], tmp_path: Path
) -> None:
    data, lines = studio
    (tmp_path / "copy" / "audit").mkdir(parents=True)
    shutil.copy(data / "audit" / "checkpoints.jsonl", tmp_path / "copy" / "audit")
    key = str(data / "audit" / "key.pub.pem")
    for text, code in ((lines, 0), ([lines[0].replace(b"author", b"writer"), *lines[1:]], 1)):
        file = str(written(tmp_path / "log.jsonl", text))
        done = console("log", "verify", "--file", file, "--key", key, data=tmp_path / "copy")
        assert done.returncode == code, done.stdout + done.stderr


def test_a_file_that_is_no_whole_log_is_refused_with_its_line(tmp_path: Path) -> None:
    lines = history(5)
    done = console("log", "import", str(written(tmp_path / "a.jsonl", lines[:2] + lines[3:])), data=tmp_path / "a")
    assert done.returncode not in (0, 1)
    assert "Line 3" in done.stderr
    assert "position 3 is missing" in done.stderr


def test_the_worker_goes_on_with_the_chain_of_an_imported_log(
    server_factory: Callable[..., RunningServer], tmp_path: Path
) -> None:
    file = written(tmp_path / "log.jsonl", history(20))
    assert console("log", "import", str(file), data=tmp_path / "studio").returncode == 0
    server = server_factory(data=tmp_path / "studio")
    with server.client() as client:
        made = client.post("/api/pov/worlds", params={"project": "demo"}, json={"worldline_id": "new"})
        assert made.status_code == 201, made.text
    chain = tmp_path / "studio" / "audit" / "chain.bin"
    wait_until(lambda: chain.stat().st_size == 21 * 32, "the worker to hash the new event")
    assert server.stop() == 0
    done = comfyvn("log", "verify", "--json", data=tmp_path / "studio")
    told = json.loads(done.stdout)
    assert (done.returncode, told["checked"], told["signed"]) == (0, 21, 21), done.stdout
