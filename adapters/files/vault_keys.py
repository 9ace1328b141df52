"""The key file of vaults: master keys, one a line, outside every data folder and for its owner's eyes alone.

A line is ``<vault> <key id> <base64>``; a line that is a single base64 key serves every vault. ``#`` begins a remark.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from adapters.files.vault_sealing import KEY_BYTES, Master, coded, decoded_key, key_id, locked
from adapters.files.vault_writing import alone, unusable, write

READ_LIMIT = 2**20
"""Bytes of the file that are read. A line has about a hundred."""


def default_key_file() -> Path:
    """In the user's configuration folder."""
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    above = Path(configuration) if configuration.startswith("/") else Path.home() / ".config"
    return above / "comfyvn" / "vault.keys"


class KeyFile:
    """The key file at a place, asked by a vault whose own files are in ``folder``. All raises ``Unavailable``."""

    def __init__(self, place: Path, folder: Path) -> None:
        self.place = place
        self._folder = folder

    def all(self) -> list[tuple[str, bytes]]:
        """(vault, key) of every line; an empty vault means any. A file that others may read is refused."""
        self._outside()
        try:
            with self.place.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read(READ_LIMIT)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise locked(f"The key file {self.place} cannot be read: {error.strerror}.",
                         "Correct its owner or mode.", "fix_permissions") from error
        if stat.S_ISREG(mode) and mode & 0o077:
            raise locked(f"Others on this machine may read the key file {self.place} ({stat.filemode(mode)}).",
                         f"chmod 600 {self.place}", "fix_permissions")
        found = []
        for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), start=1):
            words = line.split("#")[0].split()
            if not words:
                continue
            key = decoded_key(words[-1])
            if key is None or len(words) not in (1, 3):
                raise locked(f"Line {number} of the key file {self.place} is no key.",
                             "A line is one key of 32 bytes in base64, or what the studio wrote.", "mend_key_file")
            found.append((words[0] if len(words) == 3 else "", key))
        return found

    def shared(self) -> Master | None:
        """The first key that serves every vault."""
        key = next((key for vault, key in self.all() if not vault), None)
        return Master(key_id(key), key) if key else None

    def new(self, vault: str) -> Master:
        """A new key of a vault, written down beside those that it had."""
        key = secrets.token_bytes(KEY_BYTES)
        master = Master(key_id(key), key)
        with self._changing() as lines:
            lines.append(f"{vault} {master.id} {coded(key)}")
        return master

    def drop_others(self, vault: str, kept: str | None) -> None:
        """Forgets the keys of a vault besides one."""
        if not self.place.exists():
            return
        with self._changing() as lines:
            lines[:] = [line for line in lines if line.split()[:1] != [vault] or line.split()[1] == kept]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[str]]:
        self._outside()
        with alone(self.place):
            self.all()  # a file that cannot be understood is not written over
            try:
                # A remark may be in any encoding: what is not UTF-8 comes out again as it went in.
                before = self.place.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            except FileNotFoundError:
                before = []
            except OSError as error:
                raise unusable(self.place, error) from error
            lines = [line for line in before if line.strip()]
            yield lines
            if lines != before:
                write(self.place, "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))

    def _outside(self) -> None:
        if self.place.resolve().is_relative_to(self._folder.resolve()):
            raise locked(
                f"The key file {self.place} lies in the data folder: whoever copies the folder would have both.",
                "Name one outside with COMFYVN_VAULT_KEY_FILE.", "move_key_file",
            )
