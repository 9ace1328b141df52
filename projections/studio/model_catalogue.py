"""The whole catalogue: curated entries first, then those of the project, with acknowledgements and downloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import Field

from domain.ids import Token
from domain.studio.model import unknown_model
from domain.studio.model_entry import Entry
from domain.studio.model_library import LIBRARY
from domain.studio.model_values import ModelType, licence
from domain.tables import PAGE_LIMIT, Reader, Row, Where
from projections.reading import PageQuery, Query, bad_cursor, decode_cursor, encode_cursor
from projections.studio.model import CUSTOM, DOWNLOADS, acknowledgements, custom_shape, download_shape

LOOKED_AT: Final = 5000
"""Most entries that one page looks at; a page that has found nothing among so many ends, and goes on at its cursor."""

Standing = Callable[[Entry], Mapping[str, Any]]
"""What stands on the disk: at least ``installed``."""


class ListModels(PageQuery):
    """The catalogue: curated entries first, then the project's own."""

    type: ModelType | None = Field(default=None, description="checkpoint, lora, vae, …")
    engine: str | None = Field(default=None, max_length=64, description="Only what this engine can use.")
    license: str | None = Field(default=None, max_length=100, description="Only with this licence, in any spelling.")
    origin: Literal["curated", "custom"] | None = None
    installed: bool | None = Field(default=None, description="Only what lies in the models folder, or only what not.")
    tag: str | None = Field(default=None, max_length=50)
    q: str | None = Field(default=None, max_length=200, description="A word of its name, file, notes or use.")


class ShowModel(Query):
    """One entry of the catalogue: what it is, whether it is there, how its download stands."""

    model_id: Token


def list_models(reader: Reader, query: ListModels, standing: Standing) -> dict[str, Any]:
    """A page of the catalogue."""
    after = decode_cursor(query.cursor, 2)
    if after and (type(after[0]) is not int or type(after[1]) is not str or after[0] not in (0, 1)):
        raise bad_cursor()
    items: list[dict[str, Any]] = []
    last: list[Any] = []
    looked = 0
    for place, one in _entries(reader, query, after):
        if len(items) == query.limit or looked == LOOKED_AT:
            return {"items": _with_downloads(reader, query.project, items), "next": encode_cursor(last)}
        looked, last = looked + 1, place
        if not _fits(query, one):
            continue
        there = standing(Entry.model_validate(one))
        if query.installed is None or query.installed == bool(there["installed"]):
            items.append({**one, **there})
    return {"items": _with_downloads(reader, query.project, items), "next": None}


def show_model(reader: Reader, query: ShowModel, standing: Standing) -> dict[str, Any]:
    """One entry; raises ``NotFound``."""
    if (entry := LIBRARY.get(query.model_id)) is not None:
        one = curated_shape(query.model_id, entry)
    else:
        row = reader.row(CUSTOM.name, project=query.project, model_id=query.model_id)
        if row is None:
            raise unknown_model(query.model_id)
        one = custom_shape(row)
        entry = Entry.model_validate(row["entry"])
    known = acknowledgements(reader, query.project, query.model_id)
    missing = [risk for risk in entry.risks()
               if not any(it["risk"] == risk and it["about"] == entry.basis(risk) for it in known)]
    told = {**one, **standing(entry), "acknowledged": known, "to_acknowledge": missing}
    return _with_downloads(reader, query.project, [told])[0]


def curated_shape(model_id: str, entry: Entry) -> dict[str, Any]:
    """A curated entry as the catalogue shows it."""
    return {"id": model_id, "origin": "curated", **entry.told(), "warnings": entry.warnings()}


def _entries(reader: Reader, query: ListModels, after: list[Any]) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    if query.origin != "custom" and (not after or after[0] == 0):
        for model_id in sorted(LIBRARY):
            if not after or model_id > after[1]:
                yield [0, model_id], curated_shape(model_id, LIBRARY[model_id])
    if query.origin == "curated":
        return
    where = [Where("project", "=", query.project)]
    if query.type is not None:
        where.append(Where("type", "=", query.type))
    if query.license is not None:
        where.append(Where("license", "=", licence(query.license)))
    seen = [after[1]] if after and after[0] == 1 else []
    while rows := reader.rows(CUSTOM.name, *where, order=("model_id",), limit=PAGE_LIMIT, after=seen):
        for row in rows:
            yield [1, row["model_id"]], custom_shape(row)
        seen = [rows[-1]["model_id"]]


def _fits(query: ListModels, one: Mapping[str, Any]) -> bool:
    if query.type is not None and one["type"] != query.type:
        return False
    if query.license is not None and one["license"].lower() != licence(query.license).lower():
        return False
    if query.engine is not None and query.engine not in one["engines"]:
        return False
    if query.tag is not None and query.tag.lower() not in (tag.lower() for tag in one["tags"]):
        return False
    texts = (one["id"], one["name"], one["filename"], one["recommended_use"], one["notes"] or "", " ".join(one["tags"]))
    return query.q is None or any(query.q.lower() in text.lower() for text in texts)


def _with_downloads(reader: Reader, project: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = [one["id"] for one in items]
    rows: list[Row] = reader.rows(
        DOWNLOADS.name, Where("project", "=", project), Where("model_id", "in", ids), limit=PAGE_LIMIT,
        order=("model_id",),
    ) if ids else []
    known = {row["model_id"]: download_shape(row) for row in rows}
    return [{**one, "download": known.get(one["id"])} for one in items]


