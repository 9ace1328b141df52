"""What the read side does when its file is damaged, its disk is full, or its server is not there."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.sql.read_models import SqlReadModels
from domain.errors import Invalid, Unavailable
from domain.ports import Progress
from domain.tables import Put, Table

NOTES = Table("notes", {"id": "text", "text": "text"}, ("id",))


def filled(file: Path, count: int = 2000) -> SqlReadModels:
    models = SqlReadModels(f"sqlite:///{file}")
    models.create("notes", 1, [NOTES])
    put(models, count)
    return models


def put(models: SqlReadModels, count: int, size: int = 100) -> None:
    after = models.checkpoints()["notes"].position
    positions = range(after + 1, after + count + 1)
    changes = [(one, Put("notes", {"id": f"{one:06}", "text": "x" * size})) for one in positions]
    models.advance([Progress("notes", models.checkpoints()["notes"].generation, after, after + count, changes)])


def count(models: SqlReadModels) -> int:
    with models.reader() as reader:
        return reader.count("notes")


@pytest.mark.parametrize("spoilt", [0, 4096 * 8])
def test_a_damaged_file_says_so_and_is_moved_aside_for_a_new_one(tmp_path: Path, spoilt: int) -> None:
    file = tmp_path / "read.db"
    filled(file).close()
    content = bytearray(file.read_bytes())
    content[spoilt : spoilt + 4096 * 20] = os.urandom(4096 * 20)
    file.write_bytes(content)
    models = SqlReadModels(f"sqlite:///{file}")
    with pytest.raises(Unavailable) as caught, models.reader() as reader:
        reader.rows("notes", limit=10_000)
    assert caught.value.code == "read_side_damaged"
    assert caught.value.remediation[0].action == "rebuild_projections"
    aside = models.mend()
    assert aside == str(tmp_path / "read.db.damaged-1")
    assert Path(aside).read_bytes() == content, "nothing is thrown away"
    assert models.checkpoints() == {}
    models.create("notes", 1, [NOTES])
    put(models, 3)
    assert count(models) == 3
    assert models.mend() is None, "a sound database stays where it is"
    models.close()


def test_others_go_on_with_the_new_file_after_the_old_one_was_moved_aside(tmp_path: Path) -> None:
    file = tmp_path / "read.db"
    models = filled(file, 5)
    other = SqlReadModels(f"sqlite:///{file}")
    assert count(other) == 5
    models.close()
    for ending in ("", "-wal", "-shm"):
        Path(f"{file}{ending}").unlink(missing_ok=True)
    with pytest.raises(Unavailable) as caught:
        count(other)
    assert caught.value.code == "read_model_missing"
    fresh = filled(file, 2)
    assert count(other) == 2
    fresh.close()
    other.close()


FILLING = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from tests_in_trouble import count, filled, put
from domain.errors import Unavailable
models = filled(Path(sys.argv[1]), 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
done = 100
try:
    while done < 100_000:
        put(models, 500, 200)
        done += 500
except Unavailable as error:
    print(error.code, error.remediation[0].action)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert models.checkpoints()["notes"].position == done == count(models), (models.checkpoints(), done, count(models))
put(models, 500, 200)
assert count(models) == done + 500
print("went on", done)
"""


def test_on_a_full_disk_nothing_is_half_written_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "tests_in_trouble.py").write_text(Path(__file__).read_text())
    ran = subprocess.run(
        [sys.executable, "-c", FILLING, str(tmp_path / "read.db"), str(tmp_path)], capture_output=True, text=True,
        timeout=120, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    )
    assert ran.returncode == 0, ran.stderr
    told, went_on = ran.stdout.strip().splitlines()
    assert told in ("read_side_full free_space", "read_side_disk free_space")
    assert int(went_on.split()[-1]) > 100


def test_a_file_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    file = tmp_path / "read.db"
    file.mkdir()
    with pytest.raises(Unavailable) as caught:
        SqlReadModels(f"sqlite:///{file}").create("notes", 1, [NOTES])
    assert caught.value.code == "read_side_not_writable"


@pytest.mark.parametrize(
    "url", ["", "notes.db", "mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "postgresql:/", "no such thing"]
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        SqlReadModels(url)
    assert caught.value.code == "invalid_database_url"


def test_a_server_that_is_not_there_is_unavailable_and_no_password_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    models = SqlReadModels("postgres://someone:secret-word@127.0.0.1:1/none")
    with pytest.raises(Unavailable) as caught:
        models.checkpoints()
    told = f"{caught.value!r} {caught.value.message} {caught.value.detail} {models!r} {caplog.text}"
    cause: BaseException | None = caught.value
    while cause is not None:
        told += f" {cause}"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    assert "secret-word" not in told
    assert caught.value.code == "read_side_unreachable"


def test_a_server_that_drops_its_connections_is_used_again(postgres_url: str) -> None:
    import psycopg

    models = SqlReadModels(postgres_url)
    models.create("notes", 1, [NOTES])
    put(models, 3)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
    put(models, 3)
    assert count(models) == 6
    models.close()
