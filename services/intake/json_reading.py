"""JSON from unknown hands: bounded, with the place of the mistake in every error."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from domain.errors import Invalid, Remedy


def read_json(data: bytes, what: str, *, limit: int, line: int | None = None) -> Any:
    """The JSON in bytes (UTF-8, with or without a byte order mark). Raises ``Invalid``.

    ``what`` names the thing for people (``The card in the chunk ccv3``); ``line`` is its line where it is one of many.
    """
    if len(data) > limit:
        raise refused(f"{what} is larger than {limit} bytes", "too_large", "Shorten it.", line=line)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused(
            f"{what} is not UTF-8 at byte {error.start}", "not_utf8", "Save it as UTF-8.", line=line,
            offset=error.start,
        ) from error
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        row = error.lineno if line is None else line
        raise refused(
            f"{what} is not JSON: {error.msg} at column {error.colno}", "not_json", "Export it again, or mend it.",
            line=row, column=error.colno,
        ) from error
    except RecursionError as error:
        raise refused(f"{what} is nested too deeply", "too_deep", "Flatten it.", line=line) from error
    except ValueError as error:  # a number with thousands of digits, NaN, Infinity
        raise refused(f"{what} holds a number that cannot be read", "bad_number", "Mend it.", line=line) from error


def refused(sentence: str, error: str, remedy: str, **detail: Any) -> Invalid:
    """``Invalid`` with the place in its sentence and in its detail; places that are ``None`` are left out."""
    place = {name: value for name, value in detail.items() if value is not None}
    where = f" (line {place['line']})" if "line" in place else f" (byte {place['offset']})" if "offset" in place else ""
    return Invalid(
        f"{sentence}{where}.", error=error, remediation=[Remedy(remedy, "mend_file")], detail=place
    )


def whole(text: str) -> str:
    """The text with halves of surrogate pairs, which UTF-8 cannot hold, replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
