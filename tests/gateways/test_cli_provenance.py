"""`comfyvn provenance verify` on files from anywhere: signed, changed, unsigned, somebody else's, and hostile ones."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from signed_files import flipped, made, signed
from typer.testing import CliRunner, Result

from gateways import cli_commands
from gateways.cli_console import ExitCode
from services.bootstrap import reach_credentials
from services.settings import Settings


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed picture of ours, and one of another studio."""
    folder = tmp_path_factory.mktemp("kept")
    plain = made(folder, "image/png")
    for who in ("ours", "theirs"):
        credentials = reach_credentials(Settings.load(data=folder / "studio", signing_keys=folder / who))
        signed(credentials, plain, "image/png", name=f"{who}.png")
    return folder


def verify(kept: Path, file: Path, *more: str) -> Result:
    environment = {"COMFYVN_SIGNING_KEYS": str(kept / "ours")}
    arguments = ["provenance", "verify", str(file), "--data", str(kept / "studio"), *more]
    return CliRunner().invoke(cli_commands.app, arguments, env=environment)


def told(kept: Path, file: Path) -> dict[str, Any]:
    done = verify(kept, file, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_was_signed_here_is_said_so_and_a_changed_bit_too(kept: Path, tmp_path: Path) -> None:
    ours = kept / "ours.png"
    assert verify(kept, ours).exit_code == ExitCode.OK
    found = told(kept, ours)
    assert (found["ok"], found["state"]) == (True, "valid")
    changed = tmp_path / "changed.png"
    changed.write_bytes(flipped(ours.read_bytes(), -30))
    assert verify(kept, changed).exit_code == ExitCode.NO
    assert told(kept, changed)["ok"] is False
    assert verify(kept, kept / "made.png").exit_code == ExitCode.NOT_FOUND


def test_what_another_studio_signed_holds_and_is_not_called_trusted(kept: Path) -> None:
    found = told(kept, kept / "theirs.png")
    assert found["state"] == "valid"
    assert found["trusted"] is False
    assert told(kept, kept / "ours.png")["trusted"] is True


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


HEAD = b"\x89PNG\r\n\x1a\n"
HUGE = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0))


@pytest.mark.parametrize("data", [
    b"", b"\0" * 4096, b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", HEAD,
    HEAD + HUGE + struct.pack(">I", 2**31 - 1) + b"caBX" + b"x" * 100,
    HEAD + HUGE + chunk(b"caBX", struct.pack(">I", 2**32 - 1) + b"jumb" + b"\0\0\0\1jumd" * 500) + chunk(b"IEND", b""),
    b"\0\0\0\x18ftypisom\0\0\0\0isomisom" + b"\0\0\0\x08moov" * 2000, b"\xff\xd8\xff\xe0" + b"\xff" * 999,
    b"RIFF\xff\xff\xff\xffWEBPC2PA\xff\xff\xff\x7f",
], ids=["empty", "zeros", "script", "head", "bomb", "jumbf", "deep", "jpeg", "riff"])
def test_hostile_files_are_unsigned_or_unreadable_and_never_more(kept: Path, tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "hostile.bin"
    file.write_bytes(data)
    done = verify(kept, file, "--json")
    assert done.exit_code in (ExitCode.NO, ExitCode.NOT_FOUND), done.output
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert found["state"] in ("none", "unreadable", "invalid")


def test_what_is_no_file_is_not_waited_for_and_a_name_gives_no_orders(kept: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    done = verify(kept, pipe)
    assert (done.exit_code, "no regular file" in done.stderr) == (ExitCode.USAGE, True)
    odd = tmp_path / "a\x1b[31mred\n.png"
    odd.write_bytes(HEAD)
    said = verify(kept, odd)
    assert said.exit_code == ExitCode.NO
    assert "\x1b" not in said.stdout
