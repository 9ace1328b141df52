"""Who appears where: the nodes that a character speaks or that name it, on every worldline, as of any position.

A projection never reads, so it cannot know whom an edited node named before. Each version of a node therefore leaves
its names behind under the position that wrote it, and a second table keeps which version of a node held when; an
appearance counts while the version that it belongs to holds. Asking costs what one character's appearances cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from domain.ids import Token
from domain.story import scene
from domain.story.character import CHARACTER
from domain.story.scene_events import NODE_FIELD
from domain.tables import PAGE_LIMIT, Change, Has, Put, Reader, Row, Supersede, Table, Where
from projections.boards.documents import FIELDS, Reach, lineage
from projections.declaration import Happened, Projection
from projections.reading import BranchPageQuery, View, bad_cursor, decode_cursor, encode_cursor
from projections.story.authored import found_document

VERSIONS: Final = Table(
    name="appearance_versions",
    columns={"project": "text", "worldline": "text", "scene_id": "text", "node_id": "text", "present": "bool"},
    key=("project", "worldline", "scene_id", "node_id"),
    temporal=True,
)

APPEARANCES: Final = Table(
    name="appearances",
    columns={
        "project": "text", "worldline": "text", "name": "text", "scene_id": "text", "node_id": "text",
        "written_at": "int", "speaks": "bool", "directives": "json",
    },
    key=("project", "worldline", "name", "scene_id", "node_id", "written_at"),
)

NAMING: Final = {
    "portrait": "character", "expression": "character", "pose": "character", "camera": "focus", "tween": "target",
}
"""Kinds of directives that name somebody, and by which field."""

NODES_SHOWN: Final = 100
"""Most nodes that are named for one scene; the count tells of all."""


def called(name: str) -> str:
    """A name as appearances know it: how it is written in capitals or small letters makes no difference."""
    return name.strip().casefold()


def named_in(node: Mapping[str, Any]) -> dict[str, tuple[bool, list[str]]]:
    """Whom a node names -> whether it speaks as them, and the kinds of directives that name them."""
    found: dict[str, tuple[bool, list[str]]] = {}
    speaker = node.get("speaker")
    if isinstance(speaker, str) and called(speaker):
        found[called(speaker)] = (True, [])
    for directive in node.get("directives") or ():
        kind = directive.get("kind")
        if kind == "custom":
            name = (directive.get("parameters") or {}).get("character")
        else:
            name = directive.get(NAMING[kind]) if kind in NAMING else None
        if isinstance(name, str) and called(name):
            speaks, kinds = found.get(called(name), (False, []))
            found[called(name)] = (speaks, sorted({*kinds, kind}))
    return found


def apply(happened: Happened) -> Iterable[Change]:
    """The names of every node that an event writes, and that a node is gone."""
    recorded = happened.recorded
    if happened.event is None:
        return
    project, worldline, _, scene_id = recorded.stream
    fields: Mapping[str, Any] = scene.CONTEXT.fields(happened.event)
    for path, value in fields.items():
        if not path.startswith(NODE_FIELD):
            continue
        node_id = path.removeprefix(NODE_FIELD)
        key = {"project": project, "worldline": worldline, "scene_id": scene_id, "node_id": node_id}
        yield Supersede(VERSIONS.name, key, {"present": value is not None})
        for name, (speaks, kinds) in named_in(value["node"] if value else {}).items():
            yield Put(APPEARANCES.name, {
                **key, "name": name, "written_at": recorded.position, "speaks": speaks, "directives": kinds,
            })


PROJECTIONS = (
    Projection(
        name="appearances", version=1, tables=(VERSIONS, APPEARANCES), apply=apply,
        categories=frozenset({scene.CATEGORY}), about="Who speaks, or is named by a directive, in which node.",
    ),
)


# --- reading ------------------------------------------------------------------------------------------------------


class CharacterScenes(BranchPageQuery):
    """The scenes in which a character speaks or is named by a directive, by its id or its name."""

    character_id: Token


class _Found(NamedTuple):
    """An appearance that counts on its own worldline, ``depth`` reaches away."""

    depth: int
    row: Row


def character_scenes(reader: Reader, query: CharacterScenes) -> dict[str, Any]:
    """A page of ``{"scene_id", "title", "speaks", "named", "nodes": [{"id", "speaks", "directives"}]}`` by scene.

    ``speaks`` and ``named`` count nodes; ``nodes`` names the first hundred. Raises ``NotFound``.
    """
    character = found_document(CHARACTER, reader, query, query.character_id)
    names = {called(query.character_id), called(str(character.fields["name"]))}
    chain = lineage(reader, query.project, query.worldline, query.as_of)
    (after,) = decode_cursor(query.cursor, 1) or [""]
    if not isinstance(after, str):
        raise bad_cursor()
    items: list[dict[str, Any]] = []
    while True:
        scenes, more = _next_scenes(reader, chain, query.project, names, after, query.limit + 1 - len(items))
        for scene_id, found in _shown(reader, chain, query.project, scenes):
            if len(items) == query.limit:
                return {"items": items, "next": encode_cursor([items[-1]["scene_id"]])}
            items.append(found | {"scene_id": scene_id})
        if not more:
            return {"items": items, "next": None}
        after = max(scenes)


def _next_scenes(
    reader: Reader, chain: Sequence[Reach], project: str, names: set[str], after: str, wanted: int
) -> tuple[dict[str, list[_Found]], bool]:
    """The appearances in the first ``wanted`` scenes after one, and whether there may be more scenes."""
    found: dict[str, list[_Found]] = {}
    more = False
    for depth, reach in enumerate(chain):
        seen: set[str] = set()
        for row in _held(reader, reach, project, names, after):
            if row["scene_id"] not in seen and len(seen) == wanted:
                more = True
                break
            seen.add(row["scene_id"])
            found.setdefault(row["scene_id"], []).append(_Found(depth, row))
    # Every reach gave its own first scenes, so only the first of the union are sure to be complete.
    first = sorted(found)[:wanted]
    return {scene_id: found[scene_id] for scene_id in first}, more or len(found) > wanted


def _held(reader: Reader, reach: Reach, project: str, names: set[str], after: str) -> Iterator[Row]:
    """Appearances on one worldline whose version of the node held at the end of the reach, by scene and node."""
    order = ("scene_id", "node_id", "name", "written_at")
    same = Has(
        VERSIONS.name,
        {"project": "project", "worldline": "worldline", "scene_id": "scene_id", "node_id": "node_id",
         "valid_from": "written_at"},
        (Where("valid_from", "<=", reach.upto), Where("valid_to", ">", reach.upto)),
    )
    last: list[Any] = [after, "\U0010ffff", "", 0] if after else []
    while True:
        rows = reader.rows(
            APPEARANCES.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
            Where("name", "in", sorted(names)), Where("written_at", "<=", reach.upto), same,
            order=order, limit=PAGE_LIMIT, after=last,
        )
        yield from (row for row in rows if row["scene_id"] > after)
        if len(rows) < PAGE_LIMIT:
            return
        last = [rows[-1][column] for column in order]


def _shown(
    reader: Reader, chain: Sequence[Reach], project: str, scenes: Mapping[str, list[_Found]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is told of each scene that is there: not of deleted ones, nor of nodes that a nearer worldline rewrote."""
    if not scenes:
        return
    titles = _titles(reader, chain, project, sorted(scenes))
    for scene_id in sorted(scenes):
        if titles.get(scene_id) is None:
            continue
        farthest = max(found.depth for found in scenes[scene_id])
        nearer = _rewritten(reader, chain[:farthest], project, scene_id)
        nodes: dict[str, dict[str, Any]] = {}
        for depth, row in scenes[scene_id]:
            if any(row["node_id"] in rewritten for rewritten in nearer[:depth]):
                continue
            node = nodes.setdefault(row["node_id"], {"id": row["node_id"], "speaks": False, "directives": []})
            node["speaks"] = node["speaks"] or row["speaks"]
            node["directives"] = sorted({*node["directives"], *row["directives"]})
        if nodes:
            told = [nodes[node_id] for node_id in sorted(nodes)]
            yield scene_id, {
                "title": titles[scene_id], "speaks": sum(node["speaks"] for node in told),
                "named": sum(bool(node["directives"]) for node in told), "nodes": told[:NODES_SHOWN],
            }


def _rewritten(reader: Reader, nearer: Sequence[Reach], project: str, scene_id: str) -> list[set[str]]:
    """The nodes of a scene that each nearer worldline has a version of its own of, also one that says it is gone."""
    return [
        {row["node_id"] for row in reader.rows(
            VERSIONS.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
            Where("scene_id", "=", scene_id), Where("valid_from", "<=", reach.upto),
            Where("valid_to", ">", reach.upto), limit=100_000,
        )}
        for reach in nearer
    ]


def _titles(reader: Reader, chain: Sequence[Reach], project: str, scenes: Sequence[str]) -> dict[str, str | None]:
    """The titles of scenes; ``None`` for one that is deleted there."""
    titles: dict[str, str | None] = {}
    for reach in reversed(chain):
        for start in range(0, len(scenes), PAGE_LIMIT):
            for row in reader.rows(
                FIELDS.name, Where("project", "=", project), Where("worldline", "=", reach.worldline),
                Where("category", "=", scene.CATEGORY), Where("field", "=", "summary"),
                Where("valid_from", "<=", reach.upto), Where("valid_to", ">", reach.upto),
                Where("id", "in", scenes[start : start + PAGE_LIMIT]), limit=PAGE_LIMIT,
            ):
                titles[row["id"]] = None if row["value"] is None else row["value"]["title"]
    return titles


VIEW = View(
    "CharacterScenes", "/api/characters/{character_id}/scenes", CharacterScenes, character_scenes,
    ("documents", "worldlines", "appearances"), "character:read",
)
