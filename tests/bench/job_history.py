"""Figures of a long history of jobs: one page of it, with every filter, at its beginning and deep inside."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from adapters.sql.read_models import SqlReadModels
from domain.ports import Progress, Recorded
from services.registry import REGISTRY
from tests.bench.figures import Figure, median, milliseconds
from tests.bench.story import PROJECT, Writer

LIMIT_SECONDS = 0.03
PRESETS = ("photoreal_portrait_v1", "cinematic_portrait_v1", "image_to_video_v1", "storyboard_builder_v1")
ENGINES = ("local_comfy", "studio_local", "provider_fal")
BATCH = 2_000

ASKED: dict[str, dict[str, Any]] = {
    "newest": {}, "failed": {"status": "failed"}, "running": {"status": "running"},
    "one preset": {"preset": PRESETS[1]}, "one person": {"owner": "author3"}, "one engine": {"engine": "provider_fal"},
    "since": {"since": "2026-01-01"},
    "failed, of one preset": {"status": "failed", "preset": PRESETS[2]}, "common text": {"q": "lamp"},
    "rare text": {"q": "number 77"},
}


def history_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Pages of 50 out of a read model of 100,000 jobs, from the question to JSON."""
    count = 10_000 if quick else 100_000
    models = SqlReadModels(f"sqlite:///{folder / 'read.db'}")
    began = time.perf_counter()
    events = _counted(models, count)
    took = time.perf_counter() - began
    try:
        deep = _deep(models, count // 2)
        times = {name: _timed(models, "ListJobs", asked) for name, asked in ASKED.items()}
        times["deep inside"] = _timed(models, "ListJobs", {"cursor": deep})
        rare = _timed(models, "ListJobs", {"q": "no such words"})
        short = _timed(models, "ListJobs", {"q": "zq"}, rounds=5)
        one = _timed(models, "ShowJob", {"job_id": f"j{count // 2}"})
    finally:
        models.close()
    slowest = max(times, key=lambda name: median(times[name]))
    told = ", ".join(f"{name} {milliseconds(median(found))}" for name, found in times.items())
    yield Figure(
        f"one page of a history of {count:,} jobs", f"p50 {milliseconds(median(times['newest']))}",
        f"slowest of {len(times)} questions: {slowest}, p50 {milliseconds(median(times[slowest]))}",
        f"at most {milliseconds(LIMIT_SECONDS)}, whatever is asked", median(times[slowest]) <= LIMIT_SECONDS, told,
    )
    yield Figure(
        f"search without a hit in {count:,} jobs", f"p50 {milliseconds(median(rare))}",
        f"of two letters, which no index holds: p50 {milliseconds(median(short))}",
        f"at most {milliseconds(LIMIT_SECONDS)}", median(rare) <= LIMIT_SECONDS, "by pieces of three letters (FTS5)",
    )
    yield Figure("one job with everything", f"p50 {milliseconds(median(one))}", "", "", None,
                 f"{events:,} events counted in {took:.0f} s")


def _counted(models: SqlReadModels, count: int) -> int:
    projection = REGISTRY.projections["jobs"]
    generation = models.create(projection.name, projection.version, projection.tables).generation
    reached = 0
    for batch in _batches(count):
        changes = [(one.position, change) for one in batch for change in projection.apply(REGISTRY.happened(one))]
        models.advance([Progress(projection.name, generation, reached, batch[-1].position, changes)])
        reached = batch[-1].position
    return reached


def _batches(count: int) -> Iterator[list[Recorded]]:
    writer, dice = Writer(), random.Random(5)
    batch: list[Recorded] = []
    for number in range(count):
        batch += _job(writer, dice, f"j{number}", number)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _job(writer: Writer, dice: random.Random, id_: str, number: int) -> list[Recorded]:
    engine = dice.choice(ENGINES)
    told = writer.ask("RequestJob", job_id=id_, request={
        "preset": dice.choice(PRESETS), "preset_digest": "d", "name": "Portrait", "quality": "standard", "seed": number,
        "inputs": {"prompt": f"a lamp in the fog, number {number}, seen from the sea"}, "account": None, "priority": 5,
        "owner": f"author{number % 7}", "deadline": None, "consent": None, "retry_of": None, "root": id_,
    }, steps=[{
        "id": "make", "operation": "text_to_image", "engine": engine, "model": "m", "parameters": {}, "inputs": {},
        "output": "image", "paid": False, "finds_attempts": False, "estimate": 0,
    }])
    fate = dice.random()
    if fate < 0.05:
        return told
    told += writer.ask("TakeJob", job_id=id_, worker="w1", taking=1)
    if fate < 0.1:
        return told
    if fate < 0.4:
        why = {"code": "ENGINE_OFFLINE", "message": "Nothing answers there."}
        return told + writer.ask("FailJob", job_id=id_, fault=why)
    uid = f"{number:016x}"
    told += writer.ask("StartAttempt", job_id=id_, attempt=f"{id_}-a", step="make", engine=engine, task={})
    told += writer.ask("StoreArtifact", job_id=id_, attempt=f"{id_}-a", artifact={
        "name": "a.png", "uid": uid, "digest": "sha256:" + uid * 4, "size": 9, "media_type": "image/png",
    })
    told += writer.ask("FinishStep", job_id=id_, attempt=f"{id_}-a", outputs={"image": [uid]}, cost=3)
    return told + writer.ask("CompleteJob", job_id=id_)


def _deep(models: SqlReadModels, behind: int) -> str:
    cursor = ""
    for _ in range(behind // 500):
        cursor = _answer(models, "ListJobs", {"limit": 500, "cursor": cursor})["next"]
    return cursor


def _timed(models: SqlReadModels, name: str, asked: dict[str, Any], rounds: int = 15) -> list[float]:
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        orjson.dumps(_answer(models, name, asked))
        found.append(time.perf_counter() - began)
    return found


def _answer(models: SqlReadModels, name: str, asked: dict[str, Any]) -> Any:
    view = REGISTRY.views[name]
    with models.reader() as reader:
        return view.answer(reader, view.query.model_validate({"project": PROJECT, **asked}))
