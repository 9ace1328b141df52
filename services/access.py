"""Tokens: who may ask for what in which projects. A secret is shown once; what is kept is its SHA-256.

A secret has 256 bits of chance in it, so one fast hash protects it as well as a slow one would.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from domain.errors import Invalid, NotFound, Refused, Remedy, Unavailable
from domain.ids import checked
from services.registry import Registry
from services.studio import utc_now

PREFIX: Final = "cvn_"
"""How every secret begins, so that a scanner of leaked secrets can know one."""

EVERY: Final = "*"

DOOR_SCOPES: Final = frozenset({
    "engine:read", "log:read", "operations:read", "playtest:read", "playtest:write", "provider:read", "provider:write",
})
"""Scopes of doors that are neither a command nor a view: the log and its streams, status and figures, playtests, keys
of providers."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\Z")


def scopes_of(registry: Registry) -> frozenset[str]:
    """Every scope that a command, a view or a door asks for."""
    asked = {asking.scope for asking in registry.askings.values()} | {view.scope for view in registry.views.values()}
    return frozenset(asked) | DOOR_SCOPES


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token may do: ``scopes`` such as ``scene:write``, ``scene:*``, ``*:read`` or ``*``, in ``projects``."""

    name: str
    scopes: tuple[str, ...]
    projects: tuple[str, ...]

    def allows(self, scope: str, project: str | None) -> bool:
        """Whether it is good for a scope in a project; ``None`` means in every project."""
        if EVERY not in self.projects and (project is None or project not in self.projects):
            return False
        return any(covers(held, scope) for held in self.scopes)


class Token(NamedTuple):
    """A token as it is kept. Times are RFC 3339 in UTC; ``expires`` and ``revoked`` are empty where they are not."""

    name: str
    digest: str
    scopes: tuple[str, ...]
    projects: tuple[str, ...]
    created: str
    expires: str
    revoked: str

    def good_at(self, time: str) -> bool:
        """Whether it still opens a door."""
        return not self.revoked and (not self.expires or _instant(time) < _instant(self.expires))


def covers(held: str, scope: str) -> bool:
    """Whether a held scope, possibly with stars, covers an asked one."""
    if held == EVERY:
        return True
    have, want = held.split(":"), scope.split(":")
    return len(have) == len(want) and all(mine in (EVERY, one) for mine, one in zip(have, want, strict=True))


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether a door bound to this address can be reached from this machine alone."""
    name = host.strip().strip("[]").split("%")[0].lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False  # also the empty one: it means every address


Tokens = list[Token]


class TokenBook:
    """The tokens in one file, readable by its owner alone, which several processes may use at once."""

    def __init__(self, path: Path, known: Collection[str] = (), *, clock: Callable[[], str] = utc_now) -> None:
        """``known`` are the scopes that exist (``scopes_of``); without them any well-formed scope is taken."""
        self.path = path
        self.known = frozenset(known)
        self.clock = clock
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def create(
        self, name: str, scopes: Sequence[str], projects: Sequence[str] = (EVERY,), expires: str | None = None, *,
        dry_run: bool = False,
    ) -> str:
        """A new token's secret: this is the only time that it can be seen. With ``dry_run`` there is none.

        ``expires`` is RFC 3339 in UTC. Raises ``Invalid`` for a name, scope, project or time that is none, and
        ``Refused`` when the name is taken by a token that still exists.
        """
        now = self.clock()
        token = Token(
            checked("name", name), "", self._checked_scopes(scopes), _checked_projects(projects), now,
            _checked_expiry(expires, now), "",
        )
        if dry_run:
            _check_free(name, self._current(), now)
            return ""
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._changing() as tokens:
            _check_free(name, tokens, now)
            tokens[:] = [one for one in tokens if one.name != name]
            tokens.append(token._replace(digest=_digest(secret)))
        return secret

    def list(self) -> tuple[Token, ...]:
        """Every token that was made, the revoked ones too, by name."""
        return tuple(sorted(self._current(), key=lambda one: one.name))

    def revoke(self, name: str, *, dry_run: bool = False) -> Token:
        """Makes a token useless at once, for ever; revoking it again is harmless. With ``dry_run`` it is only looked
        for. Raises ``NotFound``."""
        if dry_run:
            for one in self._current():
                if one.name == name:
                    return one
        else:
            with self._changing() as tokens:
                for index, one in enumerate(tokens):
                    if one.name == name:
                        revoked = one if one.revoked else one._replace(revoked=self.clock())
                        tokens[index] = revoked
                        return revoked
        raise NotFound(
            f"There is no token named {name[:96]}.",
            error="unknown_token",
            remediation=[Remedy("`comfyvn token list` names them all.", "list_tokens")],
        )

    def check(self, secret: str) -> Grant | None:
        """What a secret allows now; nothing when it is unknown, revoked or expired. Reads the file when it changed."""
        given = _digest(secret)
        found: Token | None = None
        for one in self._current():  # all of them, so that the time taken does not tell which one was close
            if hmac.compare_digest(one.digest, given):
                found = one
        if found is None or not found.good_at(self.clock()):
            return None
        return Grant(found.name, found.scopes, found.projects)

    def required(self, host: str) -> bool:
        """Whether a door bound to this address asks for a token.

        Beyond loopback always. On loopback from the first token on, also when all of them are revoked or expired:
        behind a proxy on the same machine every request comes from loopback, so whoever made tokens meant them.
        """
        return not is_loopback(host) or bool(self._current())

    # --- inside -------------------------------------------------------------------------------------------------

    def _checked_scopes(self, scopes: Sequence[str]) -> tuple[str, ...]:
        wrong = [one for one in scopes if not self._is_scope(one)]
        if wrong or not scopes:
            named = ", ".join(repr(one[:60]) for one in wrong[:5])
            known = ", ".join(sorted(self.known)) or "scene:write and the like"
            raise Invalid(
                f"There is no scope {named}." if wrong else "A token needs at least one scope.",
                error="unknown_scope",
                remediation=[Remedy(f"Use some of {known}; or with stars: scene:*, *:read, *.", "choose_scope")],
                detail={"unknown": [one[:60] for one in wrong[:20]], "known": sorted(self.known)},
            )
        return tuple(dict.fromkeys(scopes))

    def _is_scope(self, scope: str) -> bool:
        if scope == EVERY:
            return True
        if not re.fullmatch(r"(?:\*|[a-z][a-z_-]*):(?:\*|[a-z]+)", scope):
            return False
        return not self.known or any(covers(scope, one) for one in self.known)

    def _current(self) -> tuple[Token, ...]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._stamp, self._tokens = None, ()
            return ()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        # A file is replaced, never written into: another inode, or another time, is another content.
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._tokens, self._stamp = self._read(), stamp
        return self._tokens

    def _read(self) -> tuple[Token, ...]:
        try:
            told = orjson.loads(self.path.read_bytes())
            return tuple(_token(one) for one in told["tokens"])
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._unusable("it is not a list of tokens") from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Tokens]:
        try:
            self.path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = [*self._read()]
            yield tokens
            self._write(tokens)
        finally:
            os.close(lock)

    def _write(self, tokens: Iterable[Token]) -> None:
        body = orjson.dumps({"tokens": [one._asdict() for one in tokens]}, option=orjson.OPT_INDENT_2)
        try:
            # One name, since whoever writes holds the lock: what a process leaves that dies here is written over.
            beside = self.path.with_name(f".{self.path.name}.new")
            beside.unlink(missing_ok=True)
            try:
                with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(body + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self.path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def _unusable(self, why: str) -> Unavailable:
        # An unreadable book opens no door: the error goes to whoever asks, never "no tokens".
        return Unavailable(
            f"The tokens in {self.path} cannot be used: {why}.",
            error="tokens_unusable",
            remediation=[Remedy("Put the file back from a backup, or make new tokens without it.", "restore_tokens")],
        )


def _token(told: dict[str, Any]) -> Token:
    found = Token(**told)
    texts = (found.name, found.digest, found.created, found.expires, found.revoked, *found.scopes, *found.projects)
    if not all(isinstance(one, str) for one in texts) or isinstance(found.scopes, str) or not found.digest.isascii():
        raise TypeError("a token has texts alone")
    if found.expires and _instant(found.expires).tzinfo is None:
        raise ValueError("a time without its zone")
    return found._replace(scopes=tuple(found.scopes), projects=tuple(found.projects))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _check_free(name: str, tokens: Iterable[Token], now: str) -> None:
    if any(one.name == name and one.good_at(now) for one in tokens):
        raise Refused(
            f"There is a token named {name} already.",
            error="token_exists",
            remediation=[Remedy("Choose another name, or revoke that one first.", "revoke_token")],
        )


def _checked_projects(projects: Sequence[str]) -> tuple[str, ...]:
    if not projects:
        raise Invalid("A token needs at least one project, or * for all.", error="missing_project",
                      remediation=[Remedy("Name the projects, or *.", "choose_project")])
    return tuple(dict.fromkeys(one if one == EVERY else checked("project", one) for one in projects))


def _checked_expiry(expires: str | None, now: str) -> str:
    if not expires:
        return ""
    try:
        good = _TIME.match(expires) and _instant(expires) > _instant(now)
    except ValueError:
        good = False
    if not good:
        raise Invalid(
            "A token's end must be a time to come, as in 2030-01-31T12:00:00Z.",
            error="invalid_expiry",
            remediation=[Remedy("Give a later time in UTC, or none.", "choose_time")],
        )
    return expires


def _instant(time: str) -> datetime:
    return datetime.fromisoformat(time)
