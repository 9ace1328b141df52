"""How values of read models lie in a database: the same bytes on every database, and back again without loss.

Text: PostgreSQL cannot hold U+0000 and no database can hold lone surrogates, so three things are escaped with U+001A
(SUBSTITUTE), a character that nobody types: U+0000 is stored as ``\\x1a0``, U+001A itself as ``\\x1a1``, a surrogate
U+Dxxx as ``\\x1aDxxx``. Each character is escaped on its own, so prefixes stay prefixes and equality stays equality.

JSON: canonical text with sorted keys by orjson. What orjson cannot say (integers beyond 64 bit, lone surrogates,
nesting beyond 254) is written by the standard library with a leading space, which is still JSON and tells the reader to
use the standard library too, since orjson would turn a large integer into a float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import orjson

from domain.errors import Invalid, Remedy
from domain.tables import Kind, Table

SMALLEST: Final = -(2**63)
LARGEST: Final = 2**63 - 1

TOGETHER: Final = 1000
"""JSON values that are read as one text: few enough that it stays small beside what it says."""

_ODD: Final = re.compile("[\x00\x1a\ud800-\udfff]")
_ESCAPED: Final = re.compile("\x1a(0|1|D[89A-F][0-9A-F]{2})")
_FIRST: Final[Callable[[Any], Any]] = itemgetter(0)
_SORTED: Final = orjson.OPT_SORT_KEYS


def escaped(text: str) -> str:
    """Text as it is stored."""
    return _ODD.sub(_escape, text)


def unescaped(text: str) -> str:
    """Stored text as it was."""
    return _ESCAPED.sub(_unescape, text) if "\x1a" in text else text


def _escape(found: re.Match[str]) -> str:
    match found[0]:
        case "\x00":
            return "\x1a0"
        case "\x1a":
            return "\x1a1"
        case surrogate:
            return f"\x1a{ord(surrogate):04X}"


def _unescape(found: re.Match[str]) -> str:
    match found[1]:
        case "0":
            return "\x00"
        case "1":
            return "\x1a"
        case code:
            return chr(int(code, 16))


def json_text(value: Any) -> str:
    """Canonical JSON text; raises ``ValueError``, ``TypeError`` or ``RecursionError`` for what is not JSON."""
    try:
        return orjson.dumps(value, option=_SORTED).decode()
    except orjson.JSONEncodeError:
        return " " + json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def json_value(text: str) -> Any:
    """What a canonical JSON text says."""
    return json.loads(text) if text.startswith(" ") else orjson.loads(text)


def storable(table: Table, column: str, value: Any) -> Any:
    """One value as it is stored; raises ``Invalid`` when the column cannot hold it."""
    if value is None and column in table.nullable:
        return None
    match kind_of(table, column):
        case "text" if isinstance(value, str):
            return escaped(str.__str__(value))
        case "bool" if isinstance(value, bool):
            return value
        case "int" if isinstance(value, int) and SMALLEST <= value <= LARGEST:
            return int(value)
        case "json":
            try:
                return json_text(value)
            except (ValueError, TypeError, RecursionError) as error:
                raise unstorable(table, column, str(error)) from None
    raise unstorable(table, column, f"it is {_shown(value)}")


def kind_of(table: Table, column: str) -> Kind:
    """What a column holds; ``KeyError`` for a column that the table does not have."""
    if table.temporal and column in ("valid_from", "valid_to"):
        return "int"
    return table.columns[column]


def storable_rows(table: Table, columns: Sequence[str], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Whole rows as they are stored. Works column by column, since most columns need nothing done to them."""
    if not rows:
        return rows
    changed = False
    by_column: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for index, column in enumerate(columns):
        stored = _storable_column(table, column, by_column[index])
        if stored is not None:
            by_column[index] = stored
            changed = True
    return list(zip(*by_column, strict=True)) if changed else rows


def _storable_column(table: Table, column: str, values: Sequence[Any]) -> list[Any] | None:
    """The column's values as they are stored, or nothing when they can be stored as they are."""
    kind = kind_of(table, column)
    if kind == "json":
        return [storable(table, column, value) for value in values]
    types = set(map(type, values))
    if kind == "text" and types == {str}:
        together = "".join(values)
        if "\x00" not in together and "\x1a" not in together and (together.isascii() or _encodable(together)):
            return None
    elif kind == "int" and types == {int}:
        if min(values) >= SMALLEST and max(values) <= LARGEST:
            return None
    elif kind == "bool" and types == {bool}:
        return None
    return [storable(table, column, value) for value in values]


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(value: Any) -> Any:
    return value


READ: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    "text": unescaped, "int": _identity, "bool": bool, "json": json_value,
}
"""Stored value -> value, for what is not null."""


def read_column(kind: Kind, values: Sequence[Any]) -> Sequence[Any]:
    """The stored values of one column as they were."""
    if kind == "int":
        return values
    if kind == "text" and None not in values and "\x1a" not in "".join(values):
        return values
    if kind == "json" and len(values) > 1:
        portions = (values[start : start + TOGETHER] for start in range(0, len(values), TOGETHER))
        return [value for portion in portions for value in _parsed(portion)]
    read = READ[kind]
    return [None if value is None else read(value) for value in values]


def _parsed(texts: Sequence[str | None]) -> list[Any]:
    """JSON texts read as one list, which is a good deal faster than each by itself."""
    if None in texts or " " in map(_FIRST, texts):
        return [None if text is None else json_value(text) for text in texts]
    found: list[Any] = orjson.loads(f"[{','.join(texts)}]")  # type: ignore[arg-type]
    return found


def _shown(value: Any) -> str:
    shown = repr(value) if not isinstance(value, int) or -(10**40) < value < 10**40 else "an integer beyond 64 bit"
    return shown if len(shown) <= 80 else shown[:80] + "…"


def unstorable(table: Table, column: str, why: str) -> Invalid:
    """The refusal of a value."""
    return Invalid(
        f"Column {column} of {table.name} cannot hold a value: {why[:300]}",
        error="unstorable_value",
        remediation=[Remedy("Mend the projection that makes this change, then resume it.", "resume_projection")],
        detail={"table": table.name, "column": column},
    )
