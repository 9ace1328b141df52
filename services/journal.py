"""What a running studio says about itself: structured lines on standard error, never with a secret in them."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import MutableMapping
from typing import Any, Final, Literal

import structlog

from services.redaction import MASK, SECRETS, names_a_secret

_QUIET: Final = ("httpx", "httpcore", "asyncio", "uvicorn.access", "PIL", "multipart", "python_multipart")


_RECENT: Final[deque[str]] = deque(maxlen=400)
"""The last lines of this process, for diagnostics: as they were said, so without secrets."""


class _Remembering(logging.StreamHandler):  # type: ignore[type-arg]
    """Says a line and remembers it."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        _RECENT.append(line[:4000])
        return line


def recent_lines() -> list[str]:
    """The last lines that this process has said, oldest first."""
    return list(_RECENT)


def configure(level: str, style: Literal["auto", "pretty", "json"] = "auto") -> None:
    """Sends structlog's and the standard library's lines to standard error: pretty for people, JSON for machines."""
    pretty = style == "pretty" or (style == "auto" and sys.stderr.isatty())
    number = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, *shared, structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    # Stacks become text before secrets are looked for: a library's error may hold a URL with its login.
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info,
        without_secrets,
    ]
    if pretty:
        plain = structlog.dev.plain_traceback
        coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        last.append(structlog.dev.ConsoleRenderer(colors=coloured, exception_formatter=plain))
    else:
        last.append(structlog.processors.JSONRenderer(default=str))
    last.append(_without_known)
    handler = _Remembering(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    # The NATS client logs every lost connection with its stack; the adapters say what it means, once.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # Uvicorn's own lines about starting and stopping repeat what the supervisor says.
    logging.getLogger("uvicorn.error").setLevel(max(number, logging.WARNING))


def without_secrets(_: Any, __: str, told: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Masks values whose key names a secret, and what is known to be one or looks like nothing else in any text."""
    for key, value in told.items():
        told[key] = MASK if names_a_secret(key) and key != "event" else SECRETS.redact(value)
    return told


def _without_known(_: Any, __: str, told: Any) -> Any:
    """Once more over the whole line: what is no text before it is printed may hold a secret when it is."""
    return SECRETS.known(told) if isinstance(told, str) else told
