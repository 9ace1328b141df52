"""What differs between two worldlines, or two positions of one: documents, nodes, choices, assets, in story order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import MAIN, Token
from domain.story.merging.differences import Difference, differences
from domain.story.merging.held import NOTHING, Held
from domain.story.merging.history import Version
from domain.story.merging.names import NAMED_BY
from domain.story.merging.seen import declarations_of, seen_by
from domain.story.scene_rules import address
from domain.tables import OPEN, Reader
from projections.boards.documents import lineage
from projections.boards.merging import READS, Address, Compared, compare, documents_at, history_of
from projections.boards.story_order import scene_order
from projections.reading import Query, View

SCENE: Final = "scene"
NODES: Final = "nodes/"

SHOWN: Final = 1_000
"""Most documents of one answer that are told field by field; counts are of all."""

BRANCHING: Final = frozenset({"scene", "character", "world", "template", "timeline", "variables"})
"""What branches and can be compared. A test holds it against the declarations."""


class DiffWorldlines(Query):
    """What ``target`` has otherwise than ``source``: two worldlines, or one at two positions."""

    source: Token = MAIN
    target: Token = MAIN
    source_at: int = Field(default=0, ge=0, le=2**62, description="As it was at this position; 0 is now.")
    target_at: int = Field(default=0, ge=0, le=2**62, description="As it was at this position; 0 is now.")
    scene: Token | None = Field(default=None, description="Only this scene.")
    category: Token | None = Field(default=None, description="Only documents of this kind.")
    pov: str | None = Field(default=None, max_length=200, description="What this point of view may see of both.")
    mask_pov: bool | None = Field(default=None, description=(
        "With true and no `pov`: what the source's point of view may see. With false nothing is masked."
    ))

    @property
    def as_of(self) -> int:
        """The later of both positions: what must have happened before this can be answered."""
        return max(self.source_at, self.target_at)


def diff_worldlines(reader: Reader, query: DiffWorldlines) -> dict[str, Any]:
    """The answer; its shape is in docs/merging.md. Raises ``NotFound`` for a worldline that is not there."""
    lineage(reader, query.project, query.source, query.source_at)
    lineage(reader, query.project, query.target, query.target_at)
    one = Version(query.source, query.source_at or OPEN - 1)
    other = Version(query.target, query.target_at or OPEN - 1)
    found = compare(reader, query.project, one, other, BRANCHING, _meant(query))
    if query.scene is not None and not found.differing:
        _there(reader, query, (one, other))
    pov = pov_of(reader, query)
    if pov is not None:
        found = found._replace(differing=_masked(reader, query.project, found, pov))
    documents = [
        document_told(place, before, after) for place, (before, after) in [*found.differing.items()][:SHOWN]
    ]
    scenes = [place for place in found.differing if place[0] == SCENE]
    order = scene_order(reader, query.project, other, [id_ for _, id_ in scenes])
    return {
        "ok": True, "source": query.source, "target": query.target, "source_at": query.source_at,
        "target_at": query.target_at, "pov": pov, "masked": pov is not None,
        "common": [{"worldline": each.worldline, "position": _now(each.position)} for each in found.common],
        "same": not found.differing, "counts": _counted(found), "documents": documents,
        **_nodes(found, order), **_assets(found),
    }


def _there(reader: Reader, query: DiffWorldlines, versions: Iterable[Version]) -> None:
    """Raises ``NotFound`` for a scene that neither side has ever had."""
    history = history_of(reader, query.project)
    place = (SCENE, query.scene or "")
    if not any(documents_at(reader, query.project, history, version, [place]) for version in versions):
        raise NotFound(
            f"Neither {query.source} nor {query.target} has a scene {query.scene}.", error="unknown_scene",
            remediation=[Remedy("List the scenes of either worldline.", "list_scenes")],
            detail={"scene": query.scene},
        )


def _now(position: int) -> int:
    return 0 if position == OPEN - 1 else position


def _meant(query: DiffWorldlines) -> Callable[[Address], bool]:
    def meant(place: Address) -> bool:
        if query.scene is not None:
            return place == (SCENE, query.scene)
        return query.category is None or place[0] == query.category

    return meant


# --- one document -------------------------------------------------------------------------------------------------


def how_of(before: Held, after: Held) -> str:
    """What became of a document on the way from one version to the other."""
    if not before.alive:
        return "added"
    return "changed" if after.alive else "removed"


def document_told(place: Address, before: Held, after: Held) -> dict[str, Any]:
    """What differs in a document: ``{"category", "id", "title", "how", "changes": [{"path", "how", …}]}``."""
    shown = after if after.alive else before
    title = next((shown.fields[name] for name in NAMED_BY if isinstance(shown.fields.get(name), str)), place[1])
    how = how_of(before, after)
    changes = differences(before, after) if how == "changed" else []
    return {
        "category": place[0], "id": place[1], "title": title, "how": how,
        "changes": [one.shown() for one in changes],
    }


def _counted(found: Compared) -> dict[str, Any]:
    sums = Counter((place[0], how_of(*both)) for place, both in found.differing.items())
    return {
        category: {how: sums[category, how] for how in ("added", "changed", "removed")}
        for category in sorted({place[0] for place in found.differing})
    }


# --- nodes and choices --------------------------------------------------------------------------------------------


def _nodes(found: Compared, order: Sequence[str]) -> dict[str, Any]:
    """Nodes of the scenes that differ, as ``scene/node``, in the order of the story."""
    by_how: dict[str, list[str]] = {"added": [], "removed": [], "changed": [], "moved": [], "shared": []}
    details: dict[str, Any] = {}
    timeline: list[str] = []
    choices: dict[str, list[dict[str, Any]]] = {"added": [], "removed": [], "changed": []}
    sides: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})
    for id_ in order:
        before, after = (one if one.alive else NOTHING for one in found.differing[SCENE, id_])
        for node in _in_order(before, after):
            name = f"{id_}/{node}"
            timeline.append(name)
            was, now = before.fields.get(NODES + node), after.fields.get(NODES + node)
            changes = differences(_only(node, was), _only(node, now))
            hows = _how_node(was, now, changes)
            for how in hows:
                by_how[how].append(name)
            if hows == ["shared"]:
                continue
            details[name] = {
                "scene": id_, "node": node, "how": hows[-1], "before": was and was["node"],
                "after": now and now["node"], "changes": [one.shown() for one in changes],
            }
            for side, value in zip(sides, (was, now), strict=True):
                side[name] = [address(one) for one in value["node"].get("choices", ())] if value else []
            for kind, told in _choices(name, was, now, changes):
                choices[kind].append(told)
    return {
        "node_changes": by_how, "node_details": details, "timeline": timeline, "choice_changes": choices,
        "nodes": {"only_in_a": by_how["removed"], "only_in_b": by_how["added"], "shared": by_how["shared"]},
        "choices": {"a": sides[0], "b": sides[1]},
    }


def _only(node: str, value: Any) -> Held:
    return Held({NODES + node: value} if value is not None else {})


def _how_node(was: Any, now: Any, changes: Sequence[Difference]) -> list[str]:
    if was is None:
        return ["added"]
    if now is None:
        return ["removed"]
    hows = ["moved"] if any(one.how == "moved" for one in changes) else []
    hows += ["changed"] if any(one.how != "moved" for one in changes) else []
    return ["shared", *hows]


def _in_order(before: Held, after: Held) -> list[str]:
    """Nodes of both versions in the order of the later one; those that are gone stand where they stood."""
    placed: dict[str, Any] = {}
    for held in (before, after):
        for path, value in held.fields.items():
            if path.startswith(NODES):
                placed[path.removeprefix(NODES)] = tuple(value["place"])
    return sorted(placed, key=lambda node: (placed[node], node))


def _choices(
    name: str, was: Any, now: Any, changes: Sequence[Difference]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if was is None or now is None:
        kind = "added" if was is None else "removed"
        for choice in (now or was)["node"].get("choices", ()):
            yield kind, {"node": name, "choice": address(choice), ("after" if was is None else "before"): choice}
        return
    seen: set[str] = set()
    sides = [{address(one): one for one in value["node"].get("choices", ())} for value in (was, now)]
    for one in changes:
        if len(one.path) < 4 or one.path[2] != "choices" or one.path[3] in seen:
            continue
        choice = one.path[3]
        seen.add(choice)
        kind = one.how if len(one.path) == 4 and one.how in ("added", "removed") else "changed"
        told = {"node": name, "choice": choice}
        told |= {when: side[choice] for when, side in zip(("before", "after"), sides, strict=True) if choice in side}
        yield kind, told


# --- assets -------------------------------------------------------------------------------------------------------


def _assets(found: Compared) -> dict[str, Any]:
    """Assets that one side's documents name and the other's do not, among the documents that differ."""
    before = {one for was, _ in found.differing.values() if was.alive for one in assets_in(was.fields)}
    after = {one for _, now in found.differing.values() if now.alive for one in assets_in(now.fields)}
    return {
        "assets": {"a": sorted(before), "b": sorted(after)},
        "asset_changes": {"added": sorted(after - before), "removed": sorted(before - after)},
    }


def assets_in(value: Any) -> Iterable[str]:
    """Ids of assets that a document names: texts under ``asset`` or ``asset_id``, lists under ``assets``."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        elif isinstance(one, Mapping):
            for key, inner in one.items():
                if key in ("asset", "asset_id") and isinstance(inner, str):
                    yield inner
                elif key == "assets" and isinstance(inner, list):
                    yield from (each for each in inner if isinstance(each, str))
                    pending += inner
                else:
                    pending.append(inner)


# --- points of view -----------------------------------------------------------------------------------------------


def pov_of(reader: Reader, query: Any) -> str | None:
    """The one point of view by which both sides are seen, if anything is masked."""
    if query.mask_pov is False:
        return None
    if query.pov:
        return str(query.pov)
    if not query.mask_pov:
        return None
    row = reader.row("worldlines", project=query.project, worldline_id=query.source)
    return str(row["pov"]) if row is not None else "narrator"


def _masked(reader: Reader, project: str, found: Compared, pov: str) -> dict[Address, tuple[Held, Held]]:
    declared = declared_at(reader, project, (found.one, found.other))
    shown = {}
    for place, (before, after) in found.differing.items():
        was, now = (seen_by(place[0], one, pov, declared) for one in (before, after))
        if was.alive != now.alive or differences(was, now):
            shown[place] = (was, now)
    return shown


def declared_at(reader: Reader, project: str, versions: Iterable[Version]) -> dict[str, Any]:
    """Declared variables by name; what either side keeps secret is secret."""
    history = history_of(reader, project)
    declared: dict[str, Any] = {}
    for version in versions:
        held = documents_at(reader, project, history, version, [("variables", "project")])
        for one in held.values():
            for name, told in declarations_of(one.fields).items():
                if name not in declared or told.get("known_to"):
                    declared[name] = told
    return declared


PROJECTIONS = ()

VIEWS = (
    View("DiffWorldlines", "/api/diffmerge/worldlines/diff", DiffWorldlines, diff_worldlines, READS, "worldline:read"),
)

