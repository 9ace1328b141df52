"""What is in force and whether it is well: every check says what it found and what to do about it."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, Literal

from domain.errors import ComfyVNError
from domain.ports import Blobs, ReadModels
from services import bootstrap
from services.registry import REGISTRY
from services.sealing import is_signing_key
from services.settings import Settings, shown, stray_variables
from services.setup import as_bundle, healthcheck, versions

Verdict = Literal["well", "warning", "broken"]

LITTLE_SPACE_BYTES: Final = 2 * 2**30
NO_SPACE_BYTES: Final = 256 * 2**20
LAG_EVENTS: Final = 1000
"""Events that a read model may be behind before it is worth a word; a live one is behind by a few."""

CLOCK_SECONDS: Final = 5.0
"""How far the newest event may lie in this machine's future."""


COMBINATIONS: Final = 100_000
"""Most rows of counted events that are looked at for unknown types."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, in a sentence; ``remedy`` is what to do when it is not well."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


def in_force(settings: Settings) -> list[dict[str, Any]]:
    """Every setting with its value (secrets masked), where the value comes from, and what it is for."""
    return [
        {"name": name, "value": shown(getattr(settings, name)), "from": settings.origins[name],
         "about": field_.description}
        for name, field_ in type(settings).model_fields.items()
    ]


async def examine(settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[Finding]:
    """Looks at everything; one part that cannot be reached does not keep the others from being looked at."""
    findings = [*_settings(), *_folder(settings), _disk(settings), signing_keys(settings)]
    async with AsyncExitStack() as stack:
        reached = await _try("log", bootstrap.reach_log(settings, stack), findings)
        head = None
        if reached is not None:
            findings.append(_holder(reached))
            head = await _try("log", _log(reached, settings, findings, now), findings)
            await _try("processes", _processes(reached, settings, findings), findings)
        models = await _try("read side", bootstrap.reach_models(settings, stack), findings)
        if models is not None:
            await _try("read side", _read_side(models, head, findings), findings)
            await _try("events", _unknown_events(models, findings), findings)
        if head is not None:
            await _try("audit", _audit(settings, head, findings), findings)
        await _try("blobs", _blobs(settings, findings), findings)
    findings += await _generation(settings)
    return findings


async def _generation(settings: Settings) -> list[Finding]:
    """What setup's health check tells, as findings: an engine that is not used is no fault, one that fails is."""
    vault = bootstrap.reach_vault(settings)
    engines = bootstrap.reach_engines(settings, vault)
    try:
        health = await healthcheck(settings, engines, vault)
    finally:
        await engines.close()
    findings = []
    for one in health["engines"]:
        failing = one["status"] == "error" or (one["fault"] is not None and not one["ready"])
        action = one["action"]["text"] if one["action"] and not one["ready"] else ""
        if one["kind"] == "remote" and one["status"] == "not_connected":
            action = f"`comfyvn providers connect {one['engine_id']}` adds its key."
        balance = f" Balance: {one['balance']:g} {one['balance_unit']}." if one["balance"] is not None else ""
        text = f"{one['name']}: {one['status'].replace('_', ' ')}."
        if one["ready"] or failing:
            text = f"{text} {one['message']}{balance}".strip()
        elif action:
            text, action = f"{text} {action}", ""  # nothing is wrong with an engine that nobody uses
        findings.append(Finding(f"engine {one['engine_id']}", "warning" if failing else "well", text, action, one))
    gpu = health["gpu"]
    findings.append(Finding("gpu", "well", gpu["message"], detail=gpu))
    for name in ("ffmpeg", "c2pa"):
        told = health[name]
        well = told["ok"] or name == "c2pa"
        action = told["action"]["text"] if told["action"] and not well else ""
        findings.append(Finding(name, "well" if well else "warning", told["message"], action, told))
    told = health["vault"]
    text = told["message"] or (f"{told['keys']} key(s), opened by {(told['lock'] or 'key_file').replace('_', ' ')}."
                               if told["exists"] else "Empty: made when the first provider is connected.")
    findings.append(Finding("vault", "well" if told["ok"] else "broken", text,
                            told["action"]["text"] if told["action"] else "", told))
    return findings


def gathered(forced: list[dict[str, Any]], findings: list[Finding]) -> dict[str, Any]:
    """What was found as one bundle to send, also where no server runs: without secrets."""
    return as_bundle({
        "versions": versions(), "settings": forced, "verdict": worst(findings),
        "findings": [asdict(finding) for finding in findings],
    })


async def _try(check: str, work: Coroutine[Any, Any, Any], findings: list[Finding]) -> Any:
    try:
        return await work
    except ComfyVNError as error:
        remedy = error.remediation[0].text if error.remediation else ""
        findings.append(Finding(check, "broken", error.message, remedy, error.detail))
        return None


def worst(findings: list[Finding]) -> Verdict:
    """The verdict over everything."""
    verdicts = {finding.verdict for finding in findings}
    return "broken" if "broken" in verdicts else "warning" if "warning" in verdicts else "well"


def _settings() -> list[Finding]:
    return [
        Finding("settings", "warning", f"{name} is set in the environment but is no setting.",
                f"Did you mean {meant}?" if meant else "Take it away.")
        for name, meant in stray_variables().items()
    ]


def _folder(settings: Settings) -> list[Finding]:
    folder = settings.data
    if not folder.is_dir():
        return [Finding("data folder", "warning", f"{folder} does not exist yet.", "`comfyvn serve` makes it.")]
    secret = [folder, *(folder / name for name in ("nats", "read.db", "tokens.json", "lock", "server.json"))]
    wide = [f"{place} ({stat.filemode(place.stat().st_mode)})" for place in secret
            if place.exists() and place.stat().st_mode & 0o077]
    # What lies in a folder that only its owner may enter is out of reach whatever its own mode.
    if wide and folder.stat().st_mode & 0o077:
        return [Finding("data folder", "warning", f"Others on this machine may read {', '.join(wide)}.",
                        f"chmod -R go= {folder}", {"wide": wide})]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [Finding("data folder", "broken", f"{folder} cannot be written to.", "Change its owner.")]
    return [Finding("data folder", "well", f"{folder.absolute()}, for its owner alone.")]


def signing_keys(settings: Settings) -> Finding:
    """Whether what signs credentials can be used, and lies where a copy of the data folder does not hold it."""
    folder, trouble = bootstrap.look_at_signing_keys(settings)
    if trouble:
        return Finding("signing keys", "broken", trouble, f"chmod 600 {folder}/*.pem, or put them back from a backup.")
    if folder.resolve().is_relative_to(settings.data.absolute().resolve()):
        return Finding(
            "signing keys", "warning", f"{folder} lies in the data folder: whoever copies that can sign as you.",
            "Move it out, and name it with COMFYVN_SIGNING_KEYS.",
        )
    there = (folder / "leaf.pem").exists()
    return Finding("signing keys", "well", f"{folder}, for its owner alone." if there
                   else "None yet: made when the first file is signed.")


def _disk(settings: Settings) -> Finding:
    place = next(one for one in (settings.data.absolute(), *settings.data.absolute().parents) if one.exists())
    usage = shutil.disk_usage(place)
    return disk_space(usage.free, usage.total)


def disk_space(free: int, total: int) -> Finding:
    """Whether so many bytes are enough to go on with."""
    detail = {"free_bytes": free, "total_bytes": total}
    text = f"{free / 2**30:,.1f} GiB free of {total / 2**30:,.1f} GiB."
    if free < NO_SPACE_BYTES:
        return Finding("disk space", "broken", text, "Make room: commands are refused when the disk is full.", detail)
    verdict: Verdict = "warning" if free < LITTLE_SPACE_BYTES else "well"
    return Finding("disk space", verdict, text, "Make room soon." if verdict == "warning" else "", detail)


def _holder(reached: bootstrap.Reached) -> Finding:
    holder = reached.attached_to
    if holder is None:
        return Finding("lock", "well", "No server runs on this folder." if reached.lock else "The log is outside.")
    return Finding("lock", "well", f"In use by {holder}.", detail={"pid": holder.pid, "address": holder.address})


async def _log(
    reached: bootstrap.Reached, settings: Settings, findings: list[Finding], now: Callable[[], datetime]
) -> int:
    status = await reached.log.status()
    detail = {key: value for key, value in status._asdict().items() if key != "trouble"}
    findings.append(Finding(
        "log", "well", f"nats-server {status.server_version}, {status.messages:,} events, "
        f"{status.bytes:,} bytes, newest position {status.last_position}.", detail=detail,
    ))
    findings.append(_durability(status.sync_interval, status.replicas, bool(settings.nats_servers)))
    if status.messages and status.messages != status.last_position - status.first_position + 1:
        findings.append(Finding("log", "broken", "Positions are missing from the log.", "Restore it from a backup."))
    findings.append(await _clock(reached, status.last_position, now()))
    return int(status.last_position)


def _durability(sync_interval: str | None, replicas: int, outside: bool) -> Finding:
    if sync_interval == "always":
        return Finding("durability", "well", "What is acknowledged is on the disk (sync_interval always).")
    if outside and replicas >= 3:
        return Finding("durability", "well", f"{replicas} replicas; the servers do not tell their sync_interval.")
    return Finding(
        "durability", "warning", f"An outside server with {replicas} replica(s) that does not tell its sync_interval.",
        "Set `sync_interval: always` in its jetstream block (its default loses up to two minutes on power failure).",
    )


async def _clock(reached: bootstrap.Reached, head: int, now: datetime) -> Finding:
    newest = [one async for batch in reached.log.read(after=max(head - 1, 0), upto=head) for one in batch]
    if not newest:
        return Finding("clock", "well", f"{now.isoformat(timespec='seconds')}; the log is empty.")
    try:
        ahead = (datetime.fromisoformat(newest[-1].time) - now).total_seconds()
    except (ValueError, TypeError):
        return Finding("clock", "warning", f"The newest event's time cannot be read: {newest[-1].time[:40]!r}.")
    if ahead > CLOCK_SECONDS:
        return Finding(
            "clock", "warning", f"The newest event lies {ahead:,.0f} s in the future of this machine's clock.",
            "Set the clock by NTP. Order is by position, so nothing is lost; times will look odd.",
            {"ahead_seconds": ahead},
        )
    return Finding("clock", "well", f"The newest event is {max(-ahead, 0):,.0f} s old.")


async def _read_side(models: ReadModels, head: int | None, findings: list[Finding]) -> None:
    known = await asyncio.to_thread(models.checkpoints)
    if not known:
        findings.append(Finding("read side", "well", "Empty: it is built when a server runs."))
        return
    for name, projection in sorted(REGISTRY.projections.items()):
        found = known.get(name)
        if found is None:
            continue
        detail = found._asdict()
        if found.status == "stopped":
            findings.append(Finding(
                f"projection {name}", "broken",
                f"Stopped at position {found.failed_position}: {found.error.partition(chr(10))[0][:200]}",
                f"`comfyvn log show {found.failed_position}` shows the event; mend what applies it, then "
                f"`comfyvn projections resume {name}`.", detail,
            ))
        elif found.version != projection.version:
            findings.append(Finding(
                f"projection {name}", "warning", f"Has version {found.version}; this release has {projection.version}.",
                "A running server rebuilds it by itself.", detail,
            ))
        elif head is not None and found.position > head:
            findings.append(Finding(
                f"projection {name}", "broken", f"Has counted {found.position}, but the log ends at {head}: it was "
                "built from another log or from one that was restored to an older state.",
                "`comfyvn projections rebuild` builds it anew.", detail,
            ))
        elif head is not None and head - found.position > LAG_EVENTS:
            findings.append(Finding(
                f"projection {name}", "warning", f"{head - found.position:,} events behind.",
                "It catches up while a server runs; `comfyvn serve` starts one.", detail,
            ))
    if not any(finding.check.startswith("projection ") for finding in findings):
        findings.append(Finding("read side", "well", f"{len(known)} projections, none behind by much."))


async def _unknown_events(models: ReadModels, findings: list[Finding]) -> None:
    if "telemetry" not in await asyncio.to_thread(models.checkpoints):
        return

    def counted() -> dict[str, int]:
        sums: Counter[str] = Counter()
        with models.reader() as reader:
            for row in reader.rows("telemetry_counts", limit=COMBINATIONS):
                if row["type"] not in REGISTRY.event_types:
                    sums[row["type"]] += row["events"]
        return dict(sums)

    if unknown := await asyncio.to_thread(counted):
        named = ", ".join(f"{name} ({count:,})" for name, count in sorted(unknown.items())[:10])
        findings.append(Finding(
            "events", "warning", f"This release does not know {named}.",
            "Upgrade, then `comfyvn projections rebuild`. They are kept and counted, never dropped.",
            {"types": unknown},
        ))
    else:
        findings.append(Finding("events", "well", "Every event is of a type that this release knows."))


async def _processes(reached: bootstrap.Reached, settings: Settings, findings: list[Finding]) -> None:
    async with AsyncExitStack() as stack:
        surveyed = await bootstrap.survey(reached, settings, stack)
    for one in surveyed:
        detail = {"waiting": one.waiting, "in_flight": one.in_flight, "parked": [p.position for p in one.parked]}
        if one.parked:
            first = one.parked[0]
            findings.append(Finding(
                f"process {one.name}", "warning",
                f"{len(one.parked):,} events parked; position {first.position}: {first.reason[:200]}",
                f"`comfyvn log show {first.position}` shows the event; mend what stops it, then "
                f"`comfyvn processes rerun {one.name}`. Everything else goes on.", detail,
            ))
        else:
            findings.append(Finding(f"process {one.name}", "well", f"{one.waiting:,} events waiting, none parked.",
                                    detail=detail))


async def _audit(settings: Settings, head: int, findings: list[Finding]) -> None:
    chain = bootstrap.reach_chain(settings)
    length, key = await asyncio.to_thread(lambda: (chain.length(), chain.key()))
    if key is not None and not is_signing_key(key):
        findings.append(Finding(
            "audit", "broken", "Its private key is none: nothing more is hashed and signed.",
            "Put audit/key.pem back from a backup. Without one, move the audit folder away: a new chain begins, and "
            "what the old one says can still be verified with its public key.",
        ))
    elif length > head:
        findings.append(Finding(
            "audit", "broken", f"The chain of hashes goes to position {length:,}, the log to {head:,}.",
            "`comfyvn log verify` says what is missing. After restoring a backup restore its audit folder too.",
            {"hashed": length, "head": head},
        ))
    elif head - length > LAG_EVENTS:
        findings.append(Finding("audit", "warning", f"{head - length:,} events are not hashed yet.",
                                "A running worker hashes them.", {"hashed": length, "head": head}))
    else:
        findings.append(Finding("audit", "well", f"Hashed up to position {length:,}.", detail={"hashed": length}))


async def _blobs(settings: Settings, findings: list[Finding]) -> None:
    blobs: Blobs = bootstrap.reach_blobs(settings)
    if settings.blobs_url is None:
        place = settings.data / "blobs"
        if place.exists() and not os.access(place, os.W_OK | os.X_OK):
            findings.append(Finding("blobs", "broken", f"{place} cannot be written to.", "Change its owner or mode."))
            return
    began = monotonic()
    await blobs.head("0" * 64)
    findings.append(Finding("blobs", "well", f"{shown(settings.blobs_url) or settings.data / 'blobs'} answers.",
                            detail={"seconds": round(monotonic() - began, 4)}))
