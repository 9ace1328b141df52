"""Hypothesis strategies for every event of the registry, from its schema: new contexts come by themselves."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.ids import TOKEN_LIMIT
from domain.ports import Recorded, Stream
from domain.values import Event
from projections.declaration import Happened
from services.registry import REGISTRY

NAMES = st.sampled_from(["a", "b", "night", "start", "main", "x-1", "Z_9"])
TEXTS = NAMES | st.text(max_size=12) | st.sampled_from(["", "ä\x00ß", "2026-01-02T03:04:05Z", "%_", "0" * 64, "a" * 40])
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=4,
)


def histories(max_events: int = 30) -> st.SearchStrategy[list[Recorded]]:
    """Logs of any events of any context, on a few streams, in any order.

    A field that holds free JSON may be more closed in truth than its schema says (a scene's node has an id, say); an
    event that a projection cannot be applied to at all is one that no command records, and is left out.
    """
    placed = st.sampled_from(sorted(REGISTRY.event_types)).flatmap(_placed).filter(_applicable)
    return st.lists(placed, max_size=max_events).map(numbered)


def _applicable(placed: tuple[Stream, Event]) -> bool:
    (recorded,) = numbered([placed])
    for projection in REGISTRY.projections.values():
        if projection.categories is None or recorded.stream.category in projection.categories:
            try:
                list(projection.apply(Happened(recorded, placed[1] if projection.decodes else None)))
            except (KeyError, TypeError, ValueError, AttributeError):
                return False
    return True


def _placed(name: str) -> st.SearchStrategy[tuple[Stream, Event]]:
    context, type_ = REGISTRY.event_types[name]
    worldlines = ["main", "night"] if context.branches else ["-"]
    streams = st.builds(
        Stream, st.sampled_from(["demo", "other"]), st.sampled_from(worldlines), st.just(context.category),
        st.sampled_from(["a", "b"]),
    )
    return st.tuples(streams, events(type_))


def events(type_: type[Event]) -> st.SearchStrategy[Event]:
    """Events of a class."""
    schema = type_.model_json_schema()

    def valid(body: Any) -> bool:
        try:
            type_.model_validate_json(orjson.dumps(body))
        except (ValidationError, ValueError, TypeError):
            return False
        return True

    return _value(schema, schema.get("$defs", {}), 3).filter(valid).map(
        lambda body: type_.model_validate_json(orjson.dumps(body))
    )


def numbered(placed: list[tuple[Stream, Event]]) -> list[Recorded]:
    """Events as a log holds them."""
    versions: dict[Stream, int] = {}
    recorded = []
    for position, (stream, event) in enumerate(placed, 1):
        version = versions[stream] = versions.get(stream, 0) + 1
        recorded.append(Recorded(
            position, stream, type(event).__name__, event.SCHEMA, REGISTRY.encode(event), f"e{position}", version,
            f"2026-01-02T03:04:{position % 60:02}.000000Z", f"actor{position % 3}", f"c{position // 2}", "r",
            f"c{position // 2}", "",
        ))
    return recorded


def _value(schema: Any, known: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if not isinstance(schema, dict) or not schema:
        return JSONS
    if "$ref" in schema:
        return _value(known[schema["$ref"].rsplit("/", 1)[1]], known, depth - 1)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            # The flat alternatives come first, so that recursive types end.
            flat = sorted(schema[union], key=lambda one: "$ref" in one or one.get("type") in ("object", "array"))
            return _any_of(flat if depth > 0 else flat[:1], known, depth)
    match schema.get("type"):
        case "object":
            return _object(schema, known, depth)
        case "array":
            least = schema.get("minItems", 0)
            most = max(least, min(schema.get("maxItems", 2), 2 if depth > 0 else 0))
            if "prefixItems" in schema:
                return st.tuples(*[_value(one, known, depth - 1) for one in schema["prefixItems"]]).map(list)
            return st.lists(
                st.deferred(lambda: _value(schema.get("items"), known, depth - 1)), min_size=least, max_size=most,
                unique_by=orjson.dumps if schema.get("uniqueItems") else None,
            )
        case "string":
            return _text(schema)
        case "integer":
            return st.integers(*_bounds(schema, -(2**40), 2**40))
        case "number":
            low, high = _bounds(schema, -1000, 1000)
            return st.floats(low, high, allow_nan=False) | st.integers(int(low), int(high))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return JSONS


def _any_of(schemas: list[Any], known: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: st.one_of([_value(one, known, depth) for one in schemas]))


def _object(schema: dict[str, Any], known: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    parts = {name: _value(one, known, depth - 1) for name, one in schema.get("properties", {}).items()}
    if parts:
        required = set(schema.get("required", ())) if depth <= 0 else set(parts)
        return st.fixed_dictionaries({name: one for name, one in parts.items() if name in required})
    return st.dictionaries(NAMES, _value(schema.get("additionalProperties"), known, depth - 1), max_size=2)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" in schema:
        pattern = schema["pattern"].replace("\\z", "\\Z")  # pydantic's own expressions write the end differently
        return st.from_regex(pattern, fullmatch=True).filter(lambda text: "\n" not in text)
    if schema.get("maxLength") == TOKEN_LIMIT:
        return NAMES
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10**6)
    return TEXTS.filter(lambda text: least <= len(text) <= most)


def _bounds(schema: dict[str, Any], low: int, high: int) -> tuple[int, int]:
    low = max(low, schema.get("minimum", low), schema.get("exclusiveMinimum", low - 1) + 1)
    return low, max(low, min(high, schema.get("maximum", high), schema.get("exclusiveMaximum", high + 1) - 1))
