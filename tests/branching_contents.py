"""Stories for hypothesis: small, and with everything in them that makes a difference to where a play can go."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

KEYS = ("a", "a.b", "a.c.d", "gold", "flag", "own")
VALUES = st.sampled_from([True, False, 0, 1, 2, 5, "x", "3", None, [1, 2], {"b": 1}, 1.0])
POVS = ("mara", "ivo")


@st.composite
def conditions(draw: Any) -> dict[str, Any]:
    key = draw(st.sampled_from(KEYS))
    operator = draw(st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte", "in", "not_in", "exists", "not_exists"]))
    if operator in ("exists", "not_exists"):
        return {"key": key, "operator": operator}
    if operator in ("in", "not_in"):
        return {"key": key, "operator": operator, "value": draw(st.lists(VALUES, max_size=3))}
    return {"key": key, "operator": operator, "value": draw(VALUES)}


@st.composite
def actions(draw: Any) -> dict[str, Any]:
    key, type_ = draw(st.sampled_from(KEYS)), draw(st.sampled_from(["set", "set", "increment", "decrement", "clear"]))
    if type_ == "set":
        return {"type": "set", "key": key, "value": draw(VALUES)}
    if type_ == "clear":
        return {"type": "clear", "key": key}
    return {"type": type_, "key": key, "amount": draw(st.sampled_from([1, 2, 0.5, -1]))}


def some(strategy: Any, name: str) -> Any:
    return st.lists(strategy, max_size=2).map(lambda found: {name: found} if found else {})


views = st.one_of(st.just({}), st.lists(st.sampled_from(POVS), min_size=1, max_size=2, unique=True).map(
    lambda found: {"visible_to": found}))


@st.composite
def scenes(draw: Any, id_: str) -> dict[str, Any]:
    count = draw(st.integers(1, 5))
    nodes = []
    for number in range(count):
        node: dict[str, Any] = {"id": f"n{number}", "text": f"Node {number} of {id_}."}
        node |= draw(some(actions(), "actions"))
        if draw(st.booleans()):
            node["type"] = draw(st.sampled_from(["choice", "chance"]))
        choices = []
        for one in range(draw(st.integers(0, 3))):
            choices.append({
                "id": f"c{one}", "target": f"n{draw(st.integers(0, count - 1))}", "label": f"Way {one}",
                "weight": draw(st.sampled_from([1, 1, 2, 0, 0.25])), **draw(views),
                **draw(some(actions(), "actions")), **draw(some(conditions(), "conditions")),
            })
        if choices:
            node["choices"] = choices
        nodes.append(node)
    scene = {"id": id_, "start": "n0", "nodes": nodes}
    if draw(st.booleans()):
        scene["variables"] = draw(st.dictionaries(st.sampled_from(["own", "gold", "a"]), VALUES, max_size=2))
    return scene


@st.composite
def contents(draw: Any) -> dict[str, Any]:
    """The content of a story (``play.story``)."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 3)))]
    written = {name: draw(scenes(name)) for name in names}
    entries = []
    for number in range(draw(st.integers(1, 4))):
        entry: dict[str, Any] = {"id": f"e{number}", **draw(some(conditions(), "conditions")), **draw(views)}
        if draw(st.booleans()):
            entry["scene"] = draw(st.sampled_from(names))
            entry["final"] = draw(st.sampled_from([False, False, True]))
        else:
            entry["group"] = f"g{number}"
            entry["alternatives"] = [
                {"scene": draw(st.sampled_from(names)), **draw(some(conditions(), "conditions")), **draw(views)}
                for _ in range(draw(st.integers(1, 2)))
            ]
        entries.append(entry)
    return {
        "id": "any", "entries": entries, "scenes": written,
        "variables": draw(st.dictionaries(st.sampled_from(["gold", "flag", "a"]), VALUES, max_size=2)),
        "default_pov": "mara", "seed": draw(st.integers(0, 2**32 - 1)),
    }
