"""The gate before every door: which host was meant, which page asks, which token came.

A page in a browser can reach a loopback address. So the Host header must be an address or a name that is ours (a name
that somebody else rebinds to 127.0.0.1 is not), and an Origin header must be our own or an allowed one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from domain.errors import Denied, Invalid, Remedy
from gateways.http.problems import bad_header, missing_scope, unauthenticated

REMEMBERED: Final = 1024
"""Most Host and Origin values whose verdict is remembered."""


class Grant(Protocol):
    """What a token may do."""

    @property
    def name(self) -> str:
        """Who holds it: the actor of its commands."""
        ...

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects that it is bound to; of no meaning for one that is good in every project."""
        ...

    def allows(self, scope: str, project: str | None) -> bool:
        """Whether it is good for a scope in a project; a project of ``None`` means in every project."""
        ...


class Access(Protocol):
    """The tokens that exist."""

    def required(self, host: str) -> bool:
        """Whether a token is needed on a door bound to that address."""
        ...

    def check(self, secret: str) -> Grant | None:
        """The grant of a secret, or nothing."""
        ...


class OpenAccess:
    """No tokens at all: for a door on loopback, and for tests."""

    def required(self, host: str) -> bool:
        return False

    def check(self, secret: str) -> Grant | None:
        return None


class Pass(NamedTuple):
    """Who passed the gate. Without a grant it is somebody on this machine, who may do everything."""

    name: str | None
    grant: Grant | None

    def need(self, scope: str, project: str | None) -> None:
        """Raises ``Denied`` unless this caller has the scope in the project."""
        if self.grant is not None and not self.grant.allows(scope, project):
            raise missing_scope(scope, project)

    def everywhere(self, scope: str) -> bool:
        """Whether this caller has the scope in every project."""
        return self.grant is None or self.grant.allows(scope, None)

    def reach(self, scope: str) -> tuple[str, ...]:
        """The projects in which this caller has the scope, nothing where that is every one; else raises ``Denied``."""
        if self.grant is None or self.grant.allows(scope, None):
            return ()
        found = tuple(project for project in self.grant.projects if self.grant.allows(scope, project))
        if not found:
            raise missing_scope(scope, None)
        return found


LOCAL: Final = Pass("local", None)


class Gate:
    """Checks requests for one bound address."""

    def __init__(
        self, access: Access, *, host: str, allowed_hosts: Collection[str] = (), allowed_origins: Collection[str] = ()
    ) -> None:
        self.access = access
        self.host = host
        self.hosts = frozenset(name.lower() for name in allowed_hosts) | {host.lower(), "localhost"}
        self.origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)
        self._hosts_seen: dict[str, bool] = {}

    def check_host(self, headers: list[tuple[bytes, bytes]]) -> str:
        """The Host header; raises when there is none, two of them, or one that is not ours."""
        found = [value for name, value in headers if name == b"host"]
        if len(found) != 1:
            raise bad_header("Host", "exactly one is needed")
        host = found[0].decode("latin-1")
        known = self._hosts_seen.get(host)
        if known is None:
            if len(self._hosts_seen) > REMEMBERED:
                self._hosts_seen.clear()
            known = self._hosts_seen[host] = self._is_ours(host)
        if not known:
            raise Denied(
                "This server does not answer to that host name.", error="host_not_allowed",
                remediation=[Remedy("Use the server's address, or add the name to `allowed_hosts`.", "allow_host")],
                detail={"host": host[:200]},
            )
        return host

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = (parts.hostname or "").lower()
            _ = parts.port
        except ValueError:
            return False
        if parts.netloc != host or parts.username is not None or parts.path or parts.query or parts.fragment:
            return False
        if name in self.hosts or host.lower() in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # an address cannot be rebound to another one

    def check_origin(self, origin: str | None, host: str) -> bool:
        """Whether the request comes from a page of an allowed foreign origin; raises for one that is not allowed."""
        if origin is None:
            return False
        told = origin.lower()
        if told in self.origins:
            return True
        scheme, _, rest = told.partition("://")
        if scheme in ("http", "https") and rest == host.lower():
            return False
        raise Denied(
            "Pages of that origin may not use this server.", error="origin_not_allowed",
            remediation=[Remedy("Add the origin to `allowed_origins`.", "allow_origin")],
            detail={"origin": origin[:200]},
        )

    def check_token(self, authorization: str | None, in_query: str | None = None) -> Pass:
        """Who asks; raises ``Denied`` when a token is needed or the one that came is not good."""
        if authorization is None and in_query is None:
            if self.access.required(self.host):
                raise unauthenticated("A token is needed here.")
            return LOCAL
        if authorization is not None:
            kind, _, secret = authorization.partition(" ")
            secret = secret.strip()
            if kind.lower() != "bearer" or not secret:
                raise unauthenticated("The Authorization header is not `Bearer <token>`.")
        else:
            secret = in_query or ""
        grant = self.access.check(secret) if 0 < len(secret) <= 512 and secret.isascii() else None
        if grant is None:
            raise unauthenticated("That token is not known, or it is no longer good.")
        return Pass(grant.name, grant)

    def preflight(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """The answer's headers for a browser that asks before it asks."""
        wanted = headers.get(b"access-control-request-headers", b"")
        if len(wanted) > 1000 or any(byte < 0x20 or byte > 0x7E for byte in wanted):
            raise Invalid("The preflight request cannot be understood.", error="invalid_header")
        return [
            (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", wanted),
            (b"access-control-max-age", b"600"),
        ]


def shared_with(origin: str) -> list[tuple[bytes, bytes]]:
    """Headers that let a page of an allowed origin read an answer."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers",
         b"ETag, Location, Idempotency-Replayed, Retry-After, X-Request-Id, X-Comfyvn-Position"),
        (b"vary", b"Origin"),
    ]


def pass_of(scope: Any) -> Pass:
    """Who passed the gate, for routes that only see the ASGI scope."""
    found: Pass = scope["comfyvn.visit"].grant
    return found
