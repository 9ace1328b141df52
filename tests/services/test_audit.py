"""Nothing of the past can be changed, removed, inserted or put in another order without `verify` naming the place."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from adapters.files.chain import ChainFolder
from adapters.memory.log import MemoryLog
from domain.errors import Invalid, Refused, Unavailable
from domain.ports import Recorded, Stream
from services.audit import Auditor, Verified, verify_file, verify_log
from services.sealing import Checkpoint, Signer, linked, new_pair
from services.transfer import export_log, import_log
from services.wire import event_line, parse_line

Events = list[Recorded]


def event(number: int) -> Recorded:
    return Recorded(
        number, Stream("demo", "main", "scene", f"scene-{number % 7}"), "NodeEdited", 1, b'{"text":"line %d"}' % number,
        f"e{number}", number // 7 + 1, f"2026-01-02T03:{number // 60 % 60:02}:{number % 60:02}Z", "author",
        f"c{number}", "r", f"c{number}", "",
    )


def history(count: int) -> Events:
    return [event(number) for number in range(1, count + 1)]


def log_of(events: Events) -> MemoryLog:
    log = MemoryLog()
    if events:
        asyncio.run(log.load(events))
    return log


def audited(log: MemoryLog, folder: Path) -> ChainFolder:
    chain = ChainFolder(folder)
    asyncio.run(Auditor(log, chain).catch_up())
    return chain


def imported(events: Events) -> MemoryLog:
    """Through a file into a fresh log, as somebody would who rewrites the past with a text editor."""
    log = MemoryLog()
    asyncio.run(import_log(log, io.BytesIO(b"".join(event_line(one) + b"\n" for one in events))))
    return log


def renumbered(events: Events) -> Events:
    return [one._replace(position=number) for number, one in enumerate(events, start=1)]


def verified(log: MemoryLog, chain: ChainFolder, trusted: bytes | None = None) -> Verified:
    return asyncio.run(verify_log(log, chain, trusted=trusted))


def named(found: Verified) -> list[tuple[str, int]]:
    assert found.ok == (not found.findings)
    return [(one.kind, one.position) for one in found.findings]


def test_an_untouched_past_is_verified(tmp_path: Path) -> None:
    log = log_of(history(2500))
    chain = audited(log, tmp_path)
    found = verified(log, chain)
    assert named(found) == []
    assert (found.head, found.checked, found.unaudited, found.signed, found.checkpoints) == (2500, 2500, 0, 2500, 3)
    assert verified(imported(history(2500)), chain).ok
    assert found.digest == chain.hashes(2500, 1).hex()


def test_the_hash_is_what_the_page_says() -> None:
    one = event(1)
    text = b""
    for part in ("vn.demo.main.scene.scene-1", "NodeEdited", "1", "e1", "1", "2026-01-02T03:00:01Z", "author", "c1",
                 "r", "c1", "", '{"text":"line 1"}'):
        text += len(part).to_bytes(4, "big") + part.encode()
    start = sha256(b"comfyvn audit chain 1").digest()
    assert linked(start, one) == sha256(start + (1).to_bytes(8, "big") + text).digest()


@pytest.mark.parametrize("field", Recorded._fields)
def test_every_field_is_under_the_hash(tmp_path: Path, field: str) -> None:
    if field == "position":
        return  # a log cannot hold an event at another position than its own
    events = history(5)
    chain = audited(log_of(events), tmp_path)
    was = getattr(events[2], field)
    changed = {"data": b'{"text":"line  3"}', "stream": Stream("demo", "main", "scene", "other")}.get(
        field, was + 1 if isinstance(was, int) else f"{was}x"
    )
    events[2] = events[2]._replace(**{field: changed})
    assert named(verified(log_of(events), chain)) == [("changed", 3)]


CHANGES: dict[str, tuple[Callable[[Events], Events], str, int]] = {
    "a changed event": (lambda e: [*e[:700], e[700]._replace(data=b'{"text":"no"}'), *e[701:]], "changed", 701),
    "the first one changed": (lambda e: [e[0]._replace(actor="me"), *e[1:]], "changed", 1),
    "the last one changed": (lambda e: [*e[:-1], e[-1]._replace(actor="me")], "changed", 2500),
    "two changed in a row": (
        lambda e: [*e[:9], e[9]._replace(type="X"), e[10]._replace(type="X"), *e[11:]], "changed", 10),
    "one removed": (lambda e: renumbered(e[:299] + e[300:]), "removed", 300),
    "the first removed": (lambda e: renumbered(e[1:]), "removed", 1),
    "forty removed": (lambda e: renumbered(e[:1500] + e[1540:]), "removed", 1501),
    "one inserted": (lambda e: renumbered([*e[:42], e[7]._replace(event_id="new"), *e[42:]]), "inserted", 43),
    "three inserted": (
        lambda e: renumbered([*e[:42], *[e[n]._replace(event_id=f"n{n}") for n in range(3)], *e[42:]]), "inserted", 43),
    "one inserted at the start": (lambda e: renumbered([e[7]._replace(event_id="new"), *e]), "inserted", 1),
    "neighbours swapped": (lambda e: renumbered([*e[:99], e[100], e[99], *e[101:]]), "reordered", 100),
    "distant ones swapped": (lambda e: renumbered([*e[:99], e[149], *e[100:149], e[99], *e[150:]]), "reordered", 100),
    "one moved back": (lambda e: renumbered([*e[:99], *e[100:120], e[99], *e[120:]]), "reordered", 100),
    "one moved forward": (lambda e: renumbered([*e[:99], e[119], *e[99:119], *e[120:]]), "reordered", 100),
    "the end cut off": (lambda e: e[:2100], "truncated", 2101),
    "everything gone": (lambda e: [], "truncated", 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_rewritten_past_is_named_with_its_first_position(tmp_path: Path, change: str) -> None:
    make, kind, position = CHANGES[change]
    events = history(2500)
    chain = audited(log_of(events), tmp_path)
    found = verified(imported(make(list(events))), chain)
    assert named(found) == [(kind, position)]
    assert found.first is not None
    assert str(position) in found.first.message or kind == "truncated"
    assert found.checked == position - 1


def test_a_hole_in_the_log_is_a_removed_event(tmp_path: Path) -> None:
    log = log_of(history(50))
    chain = audited(log, tmp_path)

    class Holed(MemoryLog):
        async def head(self) -> int:
            return 50

    holed = Holed()
    holed.events = [one for one in log.events if one.position != 20]
    assert named(verified(holed, chain)) == [("removed", 20)]


def test_a_hole_that_was_there_before_the_audit_is_remembered_as_one(tmp_path: Path) -> None:
    class Holed(MemoryLog):
        async def head(self) -> int:
            return 50

    holed = Holed()
    holed.events = [one for one in history(50) if one.position not in (20, 50)]
    chain = audited(holed, tmp_path)
    assert chain.length() == 50
    holed.events.insert(19, event(20))
    assert named(verified(holed, chain)) == [("changed", 20)]


@pytest.mark.parametrize(("offset", "kind", "position"), [
    (0, "chain_altered", 1), (32 * 699 + 5, "chain_altered", 700), (32 * 2499 + 31, "chain_altered", 2500),
])
def test_a_flipped_bit_of_the_chain_is_told_from_a_changed_event(
    tmp_path: Path, offset: int, kind: str, position: int
) -> None:
    log = log_of(history(2500))
    chain = audited(log, tmp_path)
    content = bytearray(chain.chain.read_bytes())
    content[offset] ^= 1
    chain.chain.write_bytes(content)
    assert named(verified(log, chain)) == [(kind, position)]


def test_a_chain_that_was_cut_is_noticed_by_its_checkpoints(tmp_path: Path) -> None:
    log = log_of(history(2500))
    chain = audited(log, tmp_path)
    chain.chain.write_bytes(chain.chain.read_bytes()[: 32 * 1800])
    assert named(verified(log, chain)) == [("chain_cut", 1801)]
    events = history(2500)
    events[1900] = events[1900]._replace(actor="me")
    assert named(verified(imported(events), chain)) == [("chain_cut", 1801), ("rewritten", 1001)]


def test_rewriting_log_and_chain_together_does_not_fool_the_signatures(tmp_path: Path) -> None:
    events = history(2500)
    chain = audited(log_of(events), tmp_path / "true")
    events[1400] = events[1400]._replace(data=b'{"text":"another"}')
    rewritten = imported(events)
    forged = audited(rewritten, tmp_path / "forged")
    chain.chain.write_bytes(forged.chain.read_bytes())
    found = verified(rewritten, chain)
    assert named(found) == [("rewritten", 1001)]
    assert "between positions 1001 and 2000" in found.findings[0].message


def test_replacing_everything_does_not_fool_the_key_that_was_kept_elsewhere(tmp_path: Path) -> None:
    events = history(30)
    kept = audited(log_of(events), tmp_path / "true").public_key()
    events[3] = events[3]._replace(actor="me")
    rewritten = imported(events)
    forged = audited(rewritten, tmp_path / "forged")
    believed = verified(rewritten, forged)
    assert believed.ok, "with nothing kept elsewhere a whole forgery cannot be seen"
    assert any("kept elsewhere" in note for note in believed.notes)
    assert ("key_replaced", 0) in named(verified(rewritten, forged, trusted=kept))


def test_a_forged_checkpoint_is_named(tmp_path: Path) -> None:
    log = log_of(history(2500))
    chain = audited(log, tmp_path)
    lines = chain.statements()
    second = Checkpoint.of(lines[1])
    assert second is not None
    other = Signer(new_pair()[0]).sign(2, 2000, bytes(32), second.time)
    moved = second._replace(position=1999)
    for forged in (other, moved, second._replace(signature="AAAA"), second._replace(signature="?")):
        chain.checkpoints.write_bytes(b"\n".join([lines[0], forged.line(), lines[2]]) + b"\n")
        assert named(verified(log, chain)) == [("checkpoint_forged", forged.position)]
    chain.checkpoints.write_bytes(b"\n".join([lines[0], b"nonsense", lines[2]]) + b"\n")
    assert named(verified(log, chain)) == [("checkpoint_forged", 0)]


def test_a_missing_checkpoint_is_noticed(tmp_path: Path) -> None:
    log = log_of(history(2500))
    chain = audited(log, tmp_path)
    lines = chain.statements()
    chain.checkpoints.write_bytes(lines[0] + b"\n" + lines[2] + b"\n")
    assert named(verified(log, chain)) == [("checkpoint_missing", 2500)]


def test_all_checkpoints_missing_from_a_long_chain_is_noticed(tmp_path: Path) -> None:
    log = log_of(history(5001))
    chain = audited(log, tmp_path)
    chain.checkpoints.unlink()
    assert named(verified(log, chain)) == [("checkpoint_missing", 1)]


def test_without_the_chain_the_checkpoints_still_speak(tmp_path: Path) -> None:
    events = history(2500)
    chain = audited(log_of(events), tmp_path)
    chain.chain.unlink()
    found = verified(log_of(events), chain)
    assert found.ok
    assert (found.checked, found.signed) == (2500, 2500)
    assert any("between which two" in note for note in found.notes)
    events[1200] = events[1200]._replace(actor="me")
    assert named(verified(imported(events), chain)) == [("rewritten", 1001)]
    assert named(verified(imported(history(2500)[:2200]), chain)) == [("truncated", 2201)]


def test_without_chain_and_checkpoints_nothing_is_claimed(tmp_path: Path) -> None:
    found = verified(log_of(history(10)), ChainFolder(tmp_path))
    assert named(found) == [("chain_missing", 0)]
    assert found.checked == 0
    assert verified(MemoryLog(), ChainFolder(tmp_path)).ok, "an empty log has no past to claim"


def test_what_came_after_the_audit_is_counted_and_not_claimed(tmp_path: Path) -> None:
    log = log_of(history(10))
    chain = audited(log, tmp_path)
    asyncio.run(log.load([event(11), event(12)]))
    found = verified(log, chain)
    assert (found.ok, found.checked, found.unaudited) == (True, 10, 2)


def test_a_death_between_the_two_halves_of_the_key_leaves_signatures_that_can_be_checked(tmp_path: Path) -> None:
    events = history(30)
    chain = audited(log_of(events[:10]), tmp_path)
    kept = chain.public_key()
    chain.public.unlink()
    asyncio.run(Auditor(log_of(events), chain).catch_up())
    assert chain.public_key() == kept
    assert verified(log_of(events), chain).signed == 30


def test_an_exported_file_is_verified_with_checkpoints_and_public_key_alone(tmp_path: Path) -> None:
    log = log_of(history(2500))
    chain = audited(log, tmp_path / "here")
    out = io.BytesIO()
    asyncio.run(export_log(log, out))
    elsewhere = ChainFolder(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere.checkpoints.write_bytes(chain.checkpoints.read_bytes())
    kept = chain.public_key()
    lines = out.getvalue().splitlines(keepends=True)
    found = asyncio.run(verify_file(lines, elsewhere, trusted=kept))
    assert (found.ok, found.checked) == (True, 2500)
    changed = parse_line(lines[1500])._replace(actor="me")
    lines[1500] = event_line(changed) + b"\n"
    assert named(asyncio.run(verify_file(lines, elsewhere, trusted=kept))) == [("rewritten", 1001)]
    with pytest.raises(Invalid):
        asyncio.run(verify_file([lines[0], lines[2]], elsewhere, trusted=kept))


def test_an_unusable_key_is_a_clear_error(tmp_path: Path) -> None:
    chain = audited(log_of(history(3)), tmp_path)
    with pytest.raises(Invalid, match="public key"):
        verified(log_of(history(3)), chain, trusted=b"nonsense")
    chain.private.write_bytes(b"nonsense")
    with pytest.raises(Invalid, match="private key"):
        asyncio.run(Auditor(log_of(history(3)), chain).catch_up())


# --- the auditor --------------------------------------------------------------------------------------------------


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - the thing awaited has no event to wait for
            await asyncio.sleep(0.01)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_auditor_follows_signs_on_the_way_and_when_it_stops(tmp_path: Path) -> None:
    async def scenario() -> None:
        log, chain = MemoryLog(), ChainFolder(tmp_path)
        auditor = Auditor(log, chain)
        task = asyncio.create_task(auditor.run())
        for start in range(0, 2300, 100):
            await log.load([event(start + number) for number in range(1, 101)])
            await asyncio.sleep(0)
        await until(lambda: auditor.status().position == 2300)
        assert auditor.status().signed >= 1000
        await log.load([event(2301)])
        await until(lambda: auditor._position == 2301)
        await stopped(task)
        assert (auditor.status().position, auditor.status().signed) == (2301, 2301)
        assert (await verify_log(log, chain)).ok

    asyncio.run(scenario())


def test_the_chain_is_the_same_however_the_audit_was_interrupted(tmp_path: Path) -> None:
    log = log_of(history(2000))
    whole = audited(log, tmp_path / "whole").chain.read_bytes()
    dice = random.Random(4)
    parts = ChainFolder(tmp_path / "parts")
    growing = MemoryLog()
    while len(growing.events) < 2000:
        start = len(growing.events)
        asyncio.run(growing.load(history(2000)[start : start + dice.randint(1, 400)]))
        if parts.chain.exists():  # a crash: some bytes of the last write did not reach the disk, or were not synced
            signed = [one for line in parts.statements() if (one := Checkpoint.of(line)) is not None]
            at_least = 32 * max(one.position for one in signed)
            content = parts.chain.read_bytes()
            content = content[: max(at_least, len(content) - dice.randint(0, 100))]
            parts.chain.write_bytes(content + bytes(dice.randint(0, 99)))
        asyncio.run(Auditor(growing, parts).catch_up())
    assert parts.chain.read_bytes() == whole
    assert verified(log, parts).ok


def test_a_lost_chain_is_computed_again_and_held_against_the_checkpoints(tmp_path: Path) -> None:
    events = history(2500)
    chain = audited(log_of(events), tmp_path)
    whole = chain.chain.read_bytes()
    chain.chain.unlink()
    asyncio.run(Auditor(log_of(events), chain).catch_up())
    assert chain.chain.read_bytes() == whole
    chain.chain.unlink()
    events[1200] = events[1200]._replace(actor="me")
    with pytest.raises(Refused) as caught:
        asyncio.run(Auditor(imported(events), chain).catch_up())
    assert caught.value.code == "audit_contradicted"
    assert caught.value.detail["position"] == 2000


@pytest.mark.parametrize("other", ["shorter", "changed"])
def test_the_audit_stands_still_on_another_log_and_leaves_the_evidence(tmp_path: Path, other: str) -> None:
    events = history(20)
    chain = audited(log_of(events), tmp_path)
    before = (chain.chain.read_bytes(), chain.checkpoints.read_bytes())
    log = log_of(events[:15]) if other == "shorter" else log_of([*events[:19], events[19]._replace(actor="me")])

    async def scenario() -> None:
        auditor = Auditor(log, chain)
        task = asyncio.create_task(auditor.run())
        await until(lambda: bool(auditor.status().problem))
        assert "log verify" not in auditor.status().problem
        await stopped(task)

    asyncio.run(scenario())
    assert (chain.chain.read_bytes(), chain.checkpoints.read_bytes()) == before


def test_a_full_disk_is_waited_out(tmp_path: Path) -> None:
    class Full(ChainFolder):
        full = True

        def extend(self, after: int, hashes: bytes) -> None:
            if self.full:
                super().extend(after, hashes[:40])  # half of it reached the disk
                raise Unavailable("The audit's file cannot be written: no space left.")
            super().extend(after, hashes)

    async def scenario() -> None:
        log, chain = MemoryLog(), Full(tmp_path)
        await log.load(history(30))
        auditor = Auditor(log, chain)
        task = asyncio.create_task(auditor.run())
        await until(lambda: "no space" in auditor.status().problem)
        chain.full = False
        await until(lambda: auditor.status().position == 30 and not auditor.status().problem)
        await stopped(task)
        assert (await verify_log(log, chain)).ok

    asyncio.run(scenario())


def test_no_private_key_leaves_the_folder(tmp_path: Path) -> None:
    chain = audited(log_of(history(3)), tmp_path)
    said = chain.checkpoints.read_bytes() + (chain.public_key() or b"")
    assert b"PRIVATE" not in said
    assert set(orjson.loads(chain.statements()[0])) == set(Checkpoint._fields)
