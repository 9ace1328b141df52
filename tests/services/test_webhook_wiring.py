"""Webhooks in a whole studio: only with a public address, one key for all processes, the host's name let in."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest
from door import door

from adapters.files.private_key import private_key
from domain.errors import Invalid, Unavailable
from services.settings import Settings


def test_a_key_is_made_once_and_belongs_to_its_owner(tmp_path: Path) -> None:
    place = tmp_path / "in" / "webhooks.key"
    key = private_key(place)
    assert len(key) == 32
    assert private_key(place) == key
    assert os.stat(place).st_mode & 0o077 == 0
    assert [one.name for one in place.parent.iterdir()] == [place.name]
    place.write_bytes(b"short")
    with pytest.raises(Unavailable):
        private_key(place)


def test_processes_that_begin_together_have_one_key(tmp_path: Path) -> None:
    async def many() -> set[bytes]:
        return set(await asyncio.gather(*(asyncio.to_thread(private_key, tmp_path / "k") for _ in range(16))))

    assert len(asyncio.run(many())) == 1


@pytest.mark.parametrize("url", ["ftp://x", "studio.example", "https://", "https://a:b@studio.example", "https://x?y=1"])
def test_an_address_that_nobody_can_call_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Invalid):
        Settings.load(data=tmp_path, public_url=url)


def test_the_public_name_is_let_in() -> None:
    async def story() -> None:
        async with door(public_url="https://studio.example/") as studio:
            assert studio.studio.settings.public_url == "https://studio.example"
            for host, status in (("studio.example", 200), ("other.example", 403)):
                request = httpx.Request("GET", "http://localhost/", headers={"Host": host})
                assert (await studio.client.send(request)).status_code == status

    asyncio.run(story())
