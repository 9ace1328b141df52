"""A page for people who open the address in a browser: which doors there are. Nothing in it comes from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from typing import Final

from gateways.http.problems import Reply
from gateways.http.routing import Door

POLICY: Final = b"default-src 'none'; style-src 'sha256-%b'; frame-ancestors 'none'; base-uri 'none'"

STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.4rem}table{border-collapse:collapse;width:100%}td{padding:.2rem .6rem;border-top:1px solid #ddd}"
    "td:first-child,td:nth-child(2){font-family:ui-monospace,monospace;white-space:nowrap}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}td{border-color:#333}a{color:#8bf}}"
)


def index(doors: Iterable[Door], version: str) -> Reply:
    """The page."""
    rows = "".join(
        f"<tr><td>{door.method}</td><td>{_address(door)}</td><td>{escape(str(told.get('summary', '')))}</td>"
        for door in sorted(doors, key=lambda one: (one.path, one.method)) if (told := door.described())
    )
    body = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>ComfyVN</title><style>{STYLE}</style>"
        f"<h1>ComfyVN {escape(version)}</h1>"
        "<p>Every change is an event. The doors are described by <a href=/openapi.json>/openapi.json</a>, "
        "the event streams by <a href=/asyncapi.json>/asyncapi.json</a>. "
        "<a href=/health>/health</a> says whether all is well.</p>"
        f"<table>{rows}<tr><td>WS</td><td>/events/ws</td><td>Every event as it happens, over a WebSocket.</td></table>"
    ).encode()
    digest = b64encode(sha256(STYLE.encode()).digest())
    return Reply(200, body, [(b"content-security-policy", POLICY % digest)], b"text/html; charset=utf-8")


def _address(door: Door) -> str:
    path = escape(door.path)
    readable = door.method == "GET" and "{" not in door.path and door.stream is None
    return f"<a href={path}>{path}</a>" if readable else path
