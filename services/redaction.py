"""Redaction: nothing that opens a door leaves the process in a text, and nothing else is taken out of it.

Two rules, neither of which guesses. A *known secret* (the vault registers every key that it hands out) is found
wherever it stands and however it was spelt: percent-encoded, escaped in JSON, HTML or a Python repr, in base64 or hex,
inside a URL, a traceback or a provider's own error, and so is what a shortened text has left of it. And what stands
under a *name* that means a secret is masked, where names are compared word by word: ``api_key`` and ``Authorization``
are such names, ``author``, ``keyboard``, ``tokenizer`` and a monkey in a garden are not.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote, quote_plus

from services.redaction_parts import Parts

MASK: Final = "***"

SHORTEST: Final = 6
"""A shorter value is not registered: it would stand in innocent words."""

RECOGNISABLE: Final = 16
"""A shorter key might stand in somebody's story by chance: it is masked, and keeps nothing from being recorded."""

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_ALONE: Final = frozenset({
    "password", "passwd", "passphrase", "secret", "secrets", "apikey", "authorization", "cookie", "cookies",
    "credential", "credentials", "jwt",
})
"""Words that make a name one of a secret wherever they stand in it."""

_PAIRS: Final = frozenset({
    ("api", "key"), ("api", "keys"), ("access", "key"), ("secret", "key"), ("private", "key"), ("signing", "key"),
    ("encryption", "key"), ("master", "key"), ("admin", "key"), ("auth", "key"), ("service", "key"), ("set", "cookie"),
})

_OTHER_TOKENS: Final = frozenset({
    "next", "previous", "page", "continuation", "sync", "eos", "bos", "unk", "pad", "mask", "stop", "special",
    "trigger", "start", "end", "per", "max", "min",
})
"""What a token that opens nothing is called: those of a page, and those of a language model."""

_ABOUT: Final = frozenset({
    "id", "ids", "name", "names", "type", "count", "limit", "file", "path", "url", "expires", "at", "kind", "fields",
    "length", "hash", "fingerprint", "tokenizer", "policy", "missing",
})
"""Last words that make a name one of something *about* a secret: ``secret_name`` is shown."""


@lru_cache(maxsize=4096)
def names_a_secret(name: str) -> bool:
    """Whether what stands under a name is a secret. Words are compared whole, in any of the usual spellings."""
    words = [word.lower() for word in _WORDS.findall(name[:200])]
    if not words or (len(words) > 1 and words[-1] in _ABOUT):
        return False
    if not _ALONE.isdisjoint(words) or not _PAIRS.isdisjoint(pairwise(words)):
        return True
    if words[-1] == "token":
        return _OTHER_TOKENS.isdisjoint(words[:-1])
    return words in (["auth"], ["bearer"], ["x", "key"])


_LOGIN_IN_URL: Final = re.compile(r"(?<=://)[^/\s@\"'<>]{1,2000}(?=@)")

_STRONG: Final = r"api[-_]?key|access[-_]?key|secret[-_]?key|private[-_]?key|admin[-_]?key|client[-_]?secret|" \
    r"(?:access|refresh|auth|id|bearer)[-_]?token"

_NAMED: Final = re.compile(
    rf"(?i)(?<![a-z0-9])(?P<name>(?:[a-z0-9]{{1,40}}[-_]){{0,6}}(?:{_STRONG}))"
    r"(?P<between>\\{0,15}[\"']?\s*[:=]\s*\\{0,15}[\"']?)"
    r"(?P<value>(?=[^\s\"'&,;}<>\\]*[0-9]|[^\s\"'&,;}<>\\]{24})[^\s\"'&,;}<>\\]{8,4096})"
)
"""A name that means nothing but a secret, and something that looks like one behind it."""

_ASSIGNED: Final = re.compile(
    r"(?i)(?<![a-z0-9])(?P<name>(?:[a-z0-9]{1,40}[-_]){0,6}(?:password|passwd|passphrase|secret|token|sig|signature|"
    r"x-amz-(?:signature|credential|security-token)))(?P<between>=)(?P<value>[^\s\"'&,;}<>]{6,})"
)
"""Words of ordinary language mean a secret only where a program assigns one to them."""

_QUOTED: Final = re.compile(
    r"(?i)(?P<between>(?P<quote>\\{0,15}[\"'])(?P<name>[a-z0-9_-]{1,60})(?P=quote)\s*:\s*(?P=quote))"
    r"(?P<value>(?:(?!(?P=quote))[^\n]){1,4096})"
)
"""JSON and the like inside a text: names and values in quotes."""

_SCHEME: Final = re.compile(
    r"(?i)(?P<name>authorization)(?P<between>\\{0,15}[\"']?\s*[:=]\s*\\{0,15}[\"']?"
    r"(?:(?:bearer|key|basic|token|negotiate)\s+)?)"
    r"(?P<value>[^\s\"'<>\\,;]{6,})"
    r"|(?<![a-z0-9])(?P<kind>bearer|basic|key)(?P<space>\s+)(?P<held>(?=[^\s\"'<>]*[0-9])[a-z0-9._~+/=:-]{16,})"
)

_SHAPES: Final = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,4000}\.[\w-]{8,8000}\.[\w-]{8,4000}|\bcvn_[\w-]{40,}|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?"
    r"(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
"""What has the shape of a secret and of nothing else: a JSON web token, a token of ours, a private key."""

_ESCAPES: Final = re.compile(r"[%\\&]")
_NOTHING: Final[frozenset[str]] = frozenset()
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


class Redactor:
    """The secrets of this process, and the two rules. What it has once known it does not forget: an old key may still
    stand in a traceback, and is perhaps not revoked yet."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._literal: re.Pattern[str] | None = None
        self._escaped: re.Pattern[str] | None = None
        self._encoded: frozenset[str] = frozenset()
        self._parts = Parts({}, (), _letter)
        self._kept: tuple[bytes, ...] = ()

    def keep_out(self, values: Iterable[str]) -> None:
        """Like ``register``; and what is to be recorded for ever is looked through for them too (``stands_in``)."""
        given = list(values)
        self.register(given)
        forms = {form.encode() for value in given if len(value) >= RECOGNISABLE for form in _written(value)}
        self._kept = tuple(sorted({*self._kept, *forms}))

    def stands_in(self, data: bytes) -> bool:
        """Whether a key that is to be kept out stands in JSON that is about to be recorded."""
        return any(form in data for form in self._kept)

    def register(self, values: Iterable[str]) -> None:
        """Values that must not leave the process."""
        new = {value for value in values if len(value) >= SHORTEST} - self._secrets
        if not new:
            return
        self._secrets |= new
        ordered = sorted(self._secrets, key=len, reverse=True)
        encoded = {form for secret in ordered for form in _encodings(secret)}
        self._encoded = frozenset(encoded)
        long = [secret for secret in ordered if len(secret) >= RECOGNISABLE]
        self._parts = Parts(
            {**{form: _BASE64 for secret in long for form in _encodings(secret)}, **dict.fromkeys(long, _NOTHING)},
            long, _letter,
        )
        forms = sorted({*ordered, *encoded}, key=len, reverse=True)
        self._literal = re.compile("|".join(map(re.escape, forms)))
        self._escaped = re.compile("|".join(_spelt(secret) for secret in ordered))

    def knows(self, text: str) -> bool:
        """Whether a known secret stands in a text, in any spelling."""
        return self.known(text) != text

    def known(self, text: str) -> str:
        """The text without known secrets."""
        if self._literal is None or self._escaped is None:
            return text
        # A mask may bring together what was apart; a few rounds end that.
        for _ in range(8):
            before = text
            if self._literal.search(text) is not None:
                text = self._without(self._literal, text)
            escaped = _ESCAPES.search(text) is not None
            if escaped:
                text = self._escaped.sub(MASK, text)
            text = self._parts.masked(text, MASK)
            if escaped:
                text = self._parts.unescaped(text, MASK)
            if text == before:
                return text
        return MASK

    def text(self, text: str) -> str:
        """The text without known secrets, logins in URLs, and values assigned to names that mean a secret."""
        told = self.known(text)
        told = _LOGIN_IN_URL.sub(MASK, told)
        told = _SHAPES.sub(MASK, told)
        told = _SCHEME.sub(_scheme_masked, told)
        told = _NAMED.sub(_masked, told)
        told = _ASSIGNED.sub(_masked, told)
        return _QUOTED.sub(_quoted_masked, told)

    def redact(self, value: Any) -> Any:
        """A text, or anything JSON can say, without secrets; what is no text and no container stays as it is."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {
                    (self.text(key) if isinstance(key, str) else key):
                    _hidden(one) if isinstance(key, str) and names_a_secret(key) else self.redact(one)
                    for key, one in value.items()
                }
            case list():
                return [self.redact(one) for one in value]
            case tuple():
                return tuple(self.redact(one) for one in value)
            case bytes():
                return self.text(value.decode("utf-8", "replace"))
            case _:
                return value

    def _without(self, pattern: re.Pattern[str], text: str) -> str:
        pieces: list[str] = []
        end = 0
        for found in pattern.finditer(text):
            left, right = found.span()
            if found.group() in self._encoded:
                # Only the middle of an encoded secret is the same wherever it stands: its edges go with it.
                while left > end and text[left - 1] in _BASE64:
                    left -= 1
                while right < len(text) and text[right] in _BASE64:
                    right += 1
                while right < len(text) and text[right] == "=":
                    right += 1
            if right <= end:
                continue
            pieces += [text[end:max(left, end)], MASK]
            end = right
        return "".join([*pieces, text[end:]])


def _written(secret: str) -> Iterable[str]:
    """What a key looks like in JSON, also when somebody has encoded it before."""
    once = quote(secret, safe="")
    quoted = json.dumps(secret)[1:-1]
    for form in (
        secret, once, quote(secret), quote_plus(secret), quote(once, safe=""), html.escape(secret), quoted,
        json.dumps(quoted)[1:-1],
    ):
        yield json.dumps(form)[1:-1]
        yield json.dumps(form, ensure_ascii=False)[1:-1]
    yield from _encodings(secret)


def _encodings(secret: str) -> Iterable[str]:
    raw = secret.encode()
    yield raw.hex()
    yield raw.hex().upper()
    for before in range(3):
        sealed = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        first = (before * 8 + 5) // 6
        last = (before + len(raw)) * 8 // 6
        middle = sealed[first:last]
        if len(middle) >= SHORTEST:
            yield middle
            yield middle.replace("+", "-").replace("/", "_")


@lru_cache(maxsize=512)
def _letter(letter: str) -> str:
    raw = letter.encode("utf-8", "surrogatepass")
    code = ord(letter)
    percent = "".join(f"%(?:25){{0,4}}{_hex(f'{byte:02x}')}" for byte in raw)
    ways = [percent, rf"\\{{1,15}}[uU]0{{0,7}}{_hex(f'{code:x}')}",
            rf"&\#(?:0{{0,7}}{code}|[xX]0{{0,7}}{_hex(f'{code:x}')});?"]
    ways.append("".join(rf"\\{{1,15}}x{_hex(f'{byte:02x}')}" for byte in raw))
    if 0x80 <= code < 0x100:
        ways.append(rf"\\{{1,15}}x{_hex(f'{code:02x}')}")
    if code >= 0x10000:
        high, low = 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)
        ways.append(rf"\\{{1,15}}u{_hex(f'{high:04x}')}\\{{1,15}}u{_hex(f'{low:04x}')}")
    named = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos", "\n": "NewLine"}.get(letter)
    if named:
        ways.append(f"&(?:amp;){{0,4}}{named};")
    ways += [rf"\\{{1,15}}{short}" for short, meant in (("n", "\n"), ("t", "\t"), ("r", "\r")) if meant == letter]
    ways.append(r"\\{1,16}" if letter == "\\" else r"\\{0,15}" + re.escape(letter))
    if letter == " ":
        ways.append(r"\+")
    return f"(?:{'|'.join(ways)})"


def _hex(digits: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


def _spelt(secret: str) -> str:
    """A pattern of a secret whose every letter may be escaped in any of the usual ways, or not."""
    return "".join(_letter(letter) for letter in secret)


def _hidden(value: Any) -> Any:
    match value:
        case None | bool() | "":
            return value
        case Mapping():
            return {key: _hidden(one) for key, one in value.items()}
        case list() | tuple():
            return [_hidden(one) for one in value]
        case _:
            return MASK


def _masked(found: re.Match[str]) -> str:
    return f"{found['name']}{found['between']}{MASK}"


def _quoted_masked(found: re.Match[str]) -> str:
    return f"{found['between']}{MASK}" if names_a_secret(found["name"]) else found.group()


def _scheme_masked(found: re.Match[str]) -> str:
    if found["name"]:
        return f"{found['name']}{found['between']}{MASK}"
    return f"{found['kind']}{found['space']}{MASK}"


SECRETS: Final = Redactor()
"""What this process must not tell: one for all, because a traceback does not know which studio it came from."""


def redact(value: Any) -> Any:
    """A text or JSON value as it may leave the process."""
    return SECRETS.redact(value)
