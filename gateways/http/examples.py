"""Examples for the OpenAPI document, guessed from a model's schema and kept only when the model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from gateways.http.schemas import Schema


@lru_cache(maxsize=1024)
def example(model: type[BaseModel]) -> dict[str, Any] | None:
    """The smallest body that a model takes, made from its schema; nothing when that cannot be guessed."""
    schema = model.model_json_schema()
    if schema.get("examples"):
        return dict(schema["examples"][0])
    definitions = schema.get("$defs", {})
    guess = {
        name: _sample(name, field, definitions, 0)
        for name, field in schema.get("properties", {}).items() if name in schema.get("required", ())
    }
    try:
        model.model_validate(guess)
    except ValidationError:
        return None
    return guess


def _sample(name: str, schema: Schema, definitions: Mapping[str, Any], depth: int) -> Any:
    if depth > 8:
        return None
    if "$ref" in schema:
        return _sample(name, definitions[schema["$ref"].rpartition("/")[2]], definitions, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _sample(name, schema[key][0], definitions, depth + 1)
    match schema.get("type"):
        case "string" if schema.get("pattern", "").startswith("^[0-9a-f]{64}"):
            return "0" * 64
        case "string":
            return (name.removesuffix("_id") or "text").ljust(schema.get("minLength", 0), "x")
        case "integer" | "number":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1, 1)
        case "boolean":
            return True
        case "array":
            return [_sample(name, schema.get("items", {}), definitions, depth + 1)] * schema.get("minItems", 0)
        case "object":
            return {
                inner: _sample(inner, field, definitions, depth + 1)
                for inner, field in schema.get("properties", {}).items() if inner in schema.get("required", ())
            }
        case _:
            return None
