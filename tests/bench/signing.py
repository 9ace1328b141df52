"""Figures of provenance: signing and reading a picture, and the lineage of an asset with a thousand ancestors."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.keys import KeyFolder
from adapters.sql.read_models import SqlReadModels
from domain.ports import Progress
from domain.ports.credentials import Action, Claim, Ingredient
from domain.studio.source_types import address
from domain.tables import Put
from projections.studio.lineage import EDGES, ShowLineage, show_lineage
from services.registry import REGISTRY
from tests.bench.figures import Figure, median, milliseconds

ANCESTORS = 1_000
OTHERS = 20_000


def signing_figures(folder: Path, quick: bool) -> Iterable[Figure]:
    """Signing a 1024² PNG with and without a parent, how long the loop waits meanwhile, and a deep lineage."""
    rounds = 5 if quick else 20
    ours = OwnCredentials(KeyFolder(folder / "keys"), version="bench")
    plain, out, child = folder / "plain.png", folder / "signed.png", folder / "child.png"
    pixels = np.random.default_rng(1).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    plain.write_bytes(data.getvalue())
    digest = hashlib.sha256(data.getvalue()).hexdigest()
    created = Claim("plain.png", "image/png", digest, len(data.getvalue()),
                    [Action("c2pa.created", address("trainedAlgorithmicMedia"))])
    ours.sign(str(plain), str(out), created)
    edited = Claim(
        "child.png", "image/png", digest, len(data.getvalue()),
        [Action("c2pa.opened", "", (0,)), Action("c2pa.edited", address("compositeWithTrainedAlgorithmicMedia"))],
        [Ingredient("ab" * 8, "plain.png", "parentOf", "image/png", digest, str(out))],
    )
    signed = [_timed(lambda: ours.sign(str(plain), str(out), created)) for _ in range(rounds)]
    derived = [_timed(lambda: ours.sign(str(plain), str(child), edited)) for _ in range(rounds)]
    read = [_timed(lambda: ours.read(str(out), "image/png")) for _ in range(rounds)]
    waited = asyncio.run(_loop_waits(ours, plain, folder / "beside.png", created, rounds))
    deep, wide = _lineage(folder, rounds)
    return [
        Figure("C2PA signing of a 1024² PNG", f"p50 {milliseconds(median(signed) - median(read))}",
               f"and reading it back, as every signing does: {milliseconds(median(signed))}", "30 ms",
               median(signed) - median(read) <= 0.030,
               f"noise of {len(data.getvalue()) / 1e6:.1f} MB, no thumbnail; adds "
               f"{out.stat().st_size - plain.stat().st_size:,} bytes"),
        Figure("the same with a signed parent", f"p50 {milliseconds(median(derived))}", "", "", None,
               "the parent is validated, and its manifest goes inside"),
        Figure("longest wait of the event loop while signing", milliseconds(waited), "", "off the loop: under 20 ms",
               waited < 0.020, ""),
        Figure(f"lineage of an asset with {ANCESTORS:,} ancestors", f"p50 {milliseconds(median(deep))}",
               f"one with two p50 {milliseconds(median(wide))}", "50 ms", median(deep) <= 0.050,
               f"a chain among {OTHERS:,} other assets; every ancestor with name, engine and credentials"),
    ]


def _timed(work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - began


async def _loop_waits(ours: OwnCredentials, plain: Path, out: Path, claim: Claim, rounds: int) -> float:
    """The longest that something else waits for its turn while files are signed in a thread."""
    done, longest = asyncio.Event(), 0.0

    async def sign() -> None:
        for _ in range(rounds):
            await asyncio.to_thread(ours.sign, str(plain), str(out), claim)
        done.set()

    task = asyncio.create_task(sign())
    while not done.is_set():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - began - 0.001)
    await task
    return longest


def _lineage(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    models = SqlReadModels(f"sqlite:///{folder / 'read.db'}")
    for name in ("assets", "lineage", "credentials"):
        projection = REGISTRY.projections[name]
        models.create(name, projection.version, projection.tables)
    total = ANCESTORS + OTHERS
    edges = [Put(EDGES.name, {"project": "bench", "uid": f"{number:016x}", "parent": f"{_parent(number):016x}",
                              "place": 0, "role": "parent"}) for number in range(1, total)]
    rows = [Put("assets", _asset(number)) for number in range(total)]
    for name, puts in (("lineage", edges), ("assets", rows)):
        models.advance([Progress(name, models.checkpoints()[name].generation, 0, total,
                                 [(number + 1, put) for number, put in enumerate(puts)])])

    def see(number: int) -> float:
        began = time.perf_counter()
        with models.reader() as reader:
            show_lineage(reader, ShowLineage(project="bench", uid=f"{number:016x}", direction="ancestors"))
        return time.perf_counter() - began

    see(ANCESTORS)
    try:
        return [see(ANCESTORS) for _ in range(rounds)], [see(ANCESTORS + 2) for _ in range(rounds)]
    finally:
        models.close()


def _parent(number: int) -> int:
    """A chain at first; the others hang on its first assets."""
    return number - 1 if number <= ANCESTORS else number % 2


def _asset(number: int) -> dict[str, object]:
    row: dict[str, object] = {
        name: {"text": "", "int": 0, "bool": False, "json": []}[kind]
        for name, kind in REGISTRY.projections["assets"].tables[0].columns.items()
    }
    source = {"how": "generate", "engine": "local_comfy", "model": "sdxl", "job_id": f"j{number}"}
    return row | {"project": "bench", "uid": f"{number:016x}", "digest": f"{number:064x}", "name": f"asset {number}",
                  "kind": "image", "media_type": "image/png", "sources": [source], "metadata": {}, "measures": {},
                  "position": number + 1, "registered_position": number + 1}
