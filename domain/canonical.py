"""One spelling of a JSON value, so that a digest of it means the same everywhere (RFC 8785)."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from domain.errors import Invalid, Remedy
from domain.values import Json

EXACT: Final = 2**53
"""Whole numbers beyond this are not the same in every JSON reader; write them as strings."""


def canonical(value: Json) -> bytes:
    """The RFC 8785 form of a JSON value in UTF-8: keys sorted by UTF-16 units, no spaces, ECMAScript numbers.

    Raises ``Invalid`` for what that form cannot say: NaN and infinities, whole numbers beyond 2^53, lone surrogates,
    keys that are not text.
    """
    try:
        return "".join(_parts(value)).encode()
    except UnicodeEncodeError as error:
        raise _unsayable("half of a surrogate pair") from error
    except RecursionError as error:
        raise _unsayable("nesting this deep") from error


def digest(value: Json) -> str:
    """SHA-256 of the canonical form, as ``sha256:`` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def _parts(value: Json) -> list[str]:
    match value:
        case None:
            return ["null"]
        case bool():
            return ["true" if value else "false"]
        case int():
            if abs(value) > EXACT:
                raise _unsayable("a whole number beyond 2^53")
            return [str(value)]
        case float():
            return [_number(value)]
        case str():
            return [_text(value)]
        case list() | tuple():
            return ["[", *_joined([_parts(one) for one in value]), "]"]
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise _unsayable("a key that is not text")
            keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
            return ["{", *_joined([[_text(key), ":", *_parts(value[key])] for key in keys]), "}"]
        case _:
            raise _unsayable(type(value).__name__)


def _joined(groups: list[list[str]]) -> list[str]:
    joined: list[str] = []
    for group in groups:
        if joined:
            joined.append(",")
        joined.extend(group)
    return joined


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(number: float) -> str:
    """ECMAScript's Number::toString; Python's ``repr`` finds the same shortest digits and only sets them otherwise."""
    if number != number or number in (float("inf"), float("-inf")):
        raise _unsayable("a number that is not finite")
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        body = digits.ljust(point, "0") if len(digits) <= point else f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        body = "0." + "0" * -point + digits
    else:
        power = point - 1
        body = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "") + f"e{'+' if power > 0 else '-'}{abs(power)}"
    return sign + body


def _unsayable(what: str) -> Invalid:
    return Invalid(
        f"Canonical JSON cannot hold {what}.",
        error="not_canonical",
        remediation=[Remedy("Write it as text.", "use_text")],
    )
