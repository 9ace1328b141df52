"""What every home of an audit chain does, and what the one on disk survives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.files.chain import ChainFolder
from adapters.memory.chain import MemoryChain
from domain.errors import Unavailable
from domain.ports import Chain

MAKERS: dict[str, Callable[[Path], Chain]] = {
    "memory": lambda folder: MemoryChain(),
    "folder": lambda folder: ChainFolder(folder / "audit"),
}


@pytest.fixture(params=MAKERS)
def chain(request: pytest.FixtureRequest, tmp_path: Path) -> Chain:
    return MAKERS[request.param](tmp_path)


def hashes(*numbers: int) -> bytes:
    return b"".join(bytes([number]) * 32 for number in numbers)


def test_an_empty_chain_has_nothing(chain: Chain) -> None:
    assert (chain.length(), chain.mend(), chain.hashes(1, 5)) == (0, 0, b"")
    assert (chain.statements(), chain.key(), chain.public_key()) == ([], None, None)


def test_hashes_are_added_at_the_end_and_read_by_position(chain: Chain) -> None:
    chain.extend(0, hashes(1, 2, 3))
    chain.extend(3, hashes(4))
    assert chain.length() == 4
    assert chain.hashes(2, 2) == hashes(2, 3)
    assert chain.hashes(4, 9) == hashes(4)
    assert chain.hashes(5, 9) == b""


def test_statements_come_back_in_order(chain: Chain) -> None:
    chain.state(b'{"a":1}')
    chain.state(b'{"a":2}')
    assert chain.statements() == [b'{"a":1}', b'{"a":2}']


def test_the_first_key_stays(chain: Chain) -> None:
    assert chain.keep_key(b"private", b"public") == b"private"
    assert chain.keep_key(b"another", b"other") == b"private"
    assert (chain.key(), chain.public_key()) == (b"private", b"public")


def test_a_public_key_that_a_crash_left_unwritten_is_kept_with_its_private_one(tmp_path: Path) -> None:
    chain = ChainFolder(tmp_path / "audit")
    chain.keep_key(b"private", b"public")
    for left in (chain.public.unlink, lambda: chain.public.write_bytes(b"")):
        left()
        assert chain.public_key() is None
        assert chain.keep_key(b"another", b"other") == b"private"
        assert chain.public_key() is None, "the half of another pair says nothing"
        assert chain.keep_key(b"private", b"public") == b"private"
        assert chain.public_key() == b"public"


def test_the_folder_is_private(tmp_path: Path) -> None:
    chain = ChainFolder(tmp_path / "audit")
    chain.keep_key(b"private", b"public")
    chain.extend(0, hashes(1))
    assert chain.folder.stat().st_mode & 0o777 == 0o700
    assert chain.private.stat().st_mode & 0o777 == 0o600
    assert chain.chain.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in chain.folder.iterdir()) == ["chain.bin", "key.pem", "key.pub.pem"]


@pytest.mark.parametrize("torn", [b"\x05", b"\x05" * 31, bytes(32), bytes(64), bytes(70), b"\x05" * 31 + b""])
def test_a_torn_end_is_cut_and_nothing_else(tmp_path: Path, torn: bytes) -> None:
    chain = ChainFolder(tmp_path)
    chain.extend(0, hashes(1, 2))
    with chain.chain.open("ab") as file:
        file.write(torn)
    assert chain.mend() == 2
    assert chain.chain.read_bytes() == hashes(1, 2)
    chain.extend(2, hashes(3))
    assert chain.hashes(1, 9) == hashes(1, 2, 3)


def test_half_a_statement_is_not_read_and_not_continued(tmp_path: Path) -> None:
    chain = ChainFolder(tmp_path)
    chain.state(b'{"a":1}')
    with chain.checkpoints.open("ab") as file:
        file.write(b'{"a":')
    assert chain.statements() == [b'{"a":1}']
    chain.state(b'{"a":2}')
    assert chain.statements() == [b'{"a":1}', b'{"a":2}']


def test_a_second_writer_is_noticed(tmp_path: Path) -> None:
    one, other = ChainFolder(tmp_path), ChainFolder(tmp_path)
    one.extend(0, hashes(1))
    other.extend(1, hashes(2))
    with pytest.raises(Unavailable, match="another process"):
        one.extend(1, hashes(3))


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("not a folder")
    chain = ChainFolder(tmp_path / "audit")
    for act in (lambda: chain.extend(0, hashes(1)), lambda: chain.state(b"{}"), lambda: chain.keep_key(b"a", b"b")):
        with pytest.raises(Unavailable) as caught:
            act()
        assert str(tmp_path) in caught.value.message
