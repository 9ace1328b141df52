"""JSON bodies, read once and strictly: what two readers could understand differently is refused.

Refused with 400: what is not UTF-8 or not JSON, a key that stands twice in one object, NaN and Infinity, numbers
beyond 64 bit, lone surrogates, nesting deeper than 64. Refused with 422: JSON that does not fit the model, and is not
bent until it fits: ``"3"`` and ``true`` are no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError

from commands.declaration import Command
from domain.errors import Invalid, Remedy
from gateways.http.problems import malformed, unfit, wrong_fields

DEPTH_LIMIT: Final = 64
"""Deepest nesting of a body: an event and a snapshot nest it a little deeper, and every reader has a limit."""

CommandType = TypeVar("CommandType", bound=Command)

Wrong = tuple[str, str]


class _Unusable(ValueError):
    """JSON that is well formed and not usable."""


def check_media_type(content_type: str | None, content_encoding: str | None = None) -> None:
    """Raises ``Invalid`` (415) unless the body is declared as plain JSON in UTF-8."""
    if content_encoding and content_encoding.strip().lower() != "identity":
        raise Invalid(
            f"Bodies are taken as they are, not encoded as {content_encoding[:40]!r}.",
            error="unsupported_media_type",
            remediation=[Remedy("Send the body without Content-Encoding.", "send_plain_body")],
        )
    kind, _, rest = (content_type or "").partition(";")
    kind = kind.strip().lower()
    charset = rest.replace(" ", "").replace('"', "").lower()
    if (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))) and (
        "charset=" not in charset or "charset=utf-8" in charset
    ):
        return
    raise Invalid(
        f"The body must be declared as application/json, not {content_type[:100]!r}." if content_type
        else "The body has no Content-Type.",
        error="unsupported_media_type",
        remediation=[Remedy("Send the header `Content-Type: application/json`.", "set_content_type")],
    )


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; raises ``Invalid``."""
    try:
        text = body.decode()
        value = _DECODER.decode(text)
        if text.count("[") + text.count("{") > DEPTH_LIMIT:
            _check_depth(value)
        if "\\ud" in text or "\\uD" in text:
            _check_surrogates(value)
    except UnicodeDecodeError as error:
        raise malformed(f"byte {error.start + 1} is not UTF-8") from error
    except JSONDecodeError as error:
        raise malformed(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise malformed(f"it is nested deeper than {DEPTH_LIMIT}") from error
    except _Unusable as error:
        raise malformed(str(error)) from error
    if not isinstance(value, dict):
        raise wrong_fields("The body", "invalid_fields", [{"path": "", "message": "an object is needed"}])
    return value


def read_command(type_: type[CommandType], body: bytes, path: Mapping[str, str]) -> CommandType:
    """A command from a body; an empty body is an empty object. Path parameters fill fields of the same name."""
    if not body:
        body = b"{}"
    given = read_object(body)
    if path:
        body = _with_path(body, given, path)
    try:
        return type_.__pydantic_validator__.validate_json(body, strict=True)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise unfit(error, what=type_.__name__, code="invalid_fields") from error


def command_of(type_: type[CommandType], fields: Mapping[str, Any], prefix: tuple[str | int, ...]) -> CommandType:
    """A command from an object that stands inside a larger body."""
    try:
        body = orjson.dumps(fields)
        return type_.__pydantic_validator__.validate_json(body, strict=True)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise unfit(error, what=type_.__name__, code="invalid_fields", prefix=prefix) from error
    except TypeError as error:  # a lone surrogate: the standard library reads it, nothing can write it
        raise malformed("it holds half of a surrogate pair") from error


def _with_path(body: bytes, given: Mapping[str, Any], path: Mapping[str, str]) -> bytes:
    against = [name for name, value in path.items() if name in given and given[name] != value]
    if against:
        raise wrong_fields("The body", "invalid_fields", [
            {"path": name, "message": f"the address says {path[name][:100]!r}; leave it away or repeat that"}
            for name in against
        ])
    added = {name: value for name, value in path.items() if name not in given}
    if not added:
        return body
    rest = body[body.index(b"{") + 1 :]
    return orjson.dumps(added)[:-1] + (b"," if given else b"") + rest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _Unusable(f"{twice[:100]!a} stands twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**63:
        raise _Unusable(f"the number {text[:20]}… is beyond 64 bit" if len(text) > 20 else
                        f"the number {text} is beyond 64 bit")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise _Unusable(f"the number {text[:40]} is too large")
    return value


def _constant(text: str) -> Any:
    raise _Unusable(f"{text} is not JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise _Unusable(f"it is nested deeper than {DEPTH_LIMIT}")


def _check_surrogates(value: Any) -> None:
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise _Unusable("it holds half of a surrogate pair") from error


_DECODER: Final = JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
