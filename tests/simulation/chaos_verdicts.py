"""What has to be so once the dust has settled, whoever was killed when: each verdict is a list of what is not."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from consoles import console
from simulation.chaos_load import ACTOR, Ask, Authors

from services.exports.folder import standing
from services.studio import Asker, command_id_of

BESIDE = frozenset({"policy"})
"""Categories of what is recorded on the way to an answer, without the key of whoever asked."""

LEFT = re.compile(r"""(^|/)(
    scratch/.+ | blobs/incoming/.+ | [^/]*\.partial | [^/]*\.new | \.[^/]*\.comfyvn-(building|away|packing)-.* |
    \.coming-.* | \.[^/]*\.coming-.* | [^/]*\.(json|toml|pem|key|keys)\.(?!lock)[^/]+ | read\.db\.[^/]*damaged[^/]*
)$""", re.X)
"""Names of files that exist only while something is being written."""


def promises(authors: Authors, log: list[dict[str, Any]]) -> list[str]:
    """Every promise stands in the log once, and nothing there was promised to nobody."""
    wrong = list(authors.strange)
    if [one["position"] for one in log] != list(range(1, len(log) + 1)):
        wrong.append("the log has holes, or a position twice")
    made: dict[str, list[int]] = {}
    for one in log:
        made.setdefault(one["command_id"], []).append(one["position"])
    by_position = {one["position"]: one["command_id"] for one in log}
    known = set()
    for ask in authors.asks:
        command = command_id_of(Asker(ACTOR, key=ask.key), authors.project)
        if ask.accepted and ask.positions:  # an export's key names the export, and its command has an id of its own
            command = by_position.get(ask.positions[0], command)
        if command in known:
            wrong.append(f"{ask.path} {ask.key} shares its events with another ask")
        known.add(command)
        wrong += _promise(ask, sorted(made.get(command, [])))
    phantoms = {one["type"] for one in log if one["actor"] == ACTOR and one["command_id"] not in known
                and one["category"] not in BESIDE}
    return wrong + ([f"events that nobody was told of: {sorted(phantoms)}"] if phantoms else [])


def _promise(ask: Ask, there: list[int]) -> list[str]:
    told = f"{ask.path} {ask.key}: {ask.status}"
    if ask.status == 0:
        return [f"{told}: no answer ever came"]
    if not ask.accepted:
        return [f"{told} {ask.answer.get('error')}, and {there} are in the log"] if there and ask.status != 423 else []
    if ask.positions is not None and ask.positions != there:
        return [f"{told}: promised {ask.positions}, and {there} are in the log"]
    return []


def money(accounts: Iterable[dict[str, Any]], log: list[dict[str, Any]]) -> list[str]:
    """What accounts hold is what their entries add up to."""
    wrong = []
    for account in accounts:
        events = [one for one in log if one["category"] == "ledger" and one["stream"] == account["account"]]
        last = events[-1]["data"]
        wrong += [f"{account['account']}: {name} is {account[name]}, the log says {last[name]}"
                  for name in ("balance", "reserved", "shortfall") if account[name] != last[name]]
        balance = sum(one["data"]["amount"] for one in events if one["type"] == "CreditsGranted")
        balance -= sum(one["data"]["taken"] for one in events if one["type"] == "ReservationSettled")
        if balance != last["balance"] or not account["explained"]:
            wrong.append(f"{account['account']}: the entries add up to {balance}, it has {last['balance']}")
    return wrong


def jobs(log: list[dict[str, Any]], submitted: list[dict[str, Any]]) -> list[str]:
    """Every job is over, once; nothing paid was submitted twice; what is held for jobs is free again."""
    wrong, open_jobs, over = [], {}, {}
    held: dict[str, int] = {}
    for one in log:
        match one["type"]:
            case "JobRequested":
                open_jobs[one["stream"]] = one["position"]
            case "JobCompleted" | "JobFailed" | "JobCancelled" | "JobLost":
                if open_jobs.pop(one["stream"], None) is None:
                    wrong.append(f"job {one['stream']} ended twice: {over.get(one['stream'])} and {one['type']}")
                over[one["stream"]] = one["type"]
            case "CreditsReserved" if one["stream"] == "purse":
                held[one["data"]["attempt_id"]] = one["data"]["amount"]
            case "ReservationSettled" | "ReservationReleased" if one["stream"] == "purse":
                held.pop(one["data"]["attempt_id"], None)
    wrong += [f"job {job} stands still" for job in open_jobs]
    attempts = [one["attempt"] for one in submitted]
    if len(attempts) != len(set(attempts)):
        wrong.append("an attempt was submitted twice")
    return wrong + ([f"still held: {held}"] if held else [])


def exports(log: list[dict[str, Any]], data: Path) -> list[str]:
    """Every export is over; what is finished is whole, as a folder and as an archive."""
    asked, wrong, finished = set(), [], []
    for one in log:
        if one["category"] == "export":
            if one["type"] == "ExportRequested":
                asked.add(one["stream"])
            elif one["type"] in ("ExportFinished", "ExportFailed", "ExportCancelled"):
                asked.discard(one["stream"])
                finished += [one["data"]["result"]["digest"]] if one["type"] == "ExportFinished" else []
    wrong += [f"export {one} stands still" for one in sorted(asked)]
    for folder in (data / "exports" / "chaos").glob("[!.]*"):
        if not standing(folder).whole:
            wrong.append(f"export folder {folder.name} is not whole")
    for digest in set(finished):
        with ZipFile(data / "blobs" / "sha256" / digest[:2] / digest[2:]) as archive:
            if archive.testzip() is not None:
                wrong.append(f"archive {digest} is not whole")
    return wrong


def blobs(log: list[dict[str, Any]], data: Path) -> list[str]:
    """Every stored file is what its name says, and what the log speaks of is there."""
    there, wrong = set(), []
    for place in (data / "blobs" / "sha256").glob("*/*"):
        digest = place.parent.name + place.name
        there.add(digest)
        if hashlib.sha256(place.read_bytes()).hexdigest() != digest:
            wrong.append(f"blob {digest} has other bytes")
    named = {one["data"]["digest"] for one in log if one["type"] == "AssetRegistered"}
    return wrong + [f"blob {digest} is named and not there" for digest in sorted(named - there)]


def commands(data: Path, environment: dict[str, str], *, read_models: bool = True) -> list[str]:
    """The studio's own verdicts: the hash chain, and read models beside such as are built from nothing."""
    wrong = []
    asked = [("log", "verify")] + ([("projections", "verify")] if read_models else [])
    for words in asked:
        done = console(*words, "--json", data=data, env={**os.environ, **environment})
        told = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        if done.returncode or (words[0] == "log" and (not told.get("ok") or "no public key" in str(told))):
            said = (done.stdout + done.stderr)[:3000]
            wrong.append(f"comfyvn {' '.join(words)} ended with {done.returncode}: {said}")
    return wrong


def left_over(data: Path) -> Iterator[str]:
    """Files that nobody will finish."""
    for place in sorted(data.rglob("*")):
        name = place.relative_to(data).as_posix()
        if LEFT.search(name):
            yield name
