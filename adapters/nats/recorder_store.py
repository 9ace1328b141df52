"""Where applications of the ``eventsourcing`` library keep their events on JetStream, and how ids become subjects."""

from __future__ import annotations

import base64
import re
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from eventsourcing.persistence import IntegrityError, Notification, OperationalError

from adapters.nats.background import LoopThread
from adapters.nats.log import JetStreamLog
from domain.errors import ComfyVNError
from domain.ports import Conflict, Recorded, Stream

T = TypeVar("T")

EVENTS: Final = "event"
TRACKING: Final = "tracking"

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class OriginatorStream(Stream):
    """``es.<application>.<purpose>.<kind>.<id>``: where the library's events stand, apart from the studio's ``vn.``."""

    __slots__ = ()

    @property
    def subject(self) -> str:
        return "es." + ".".join(self)


class Store:
    """One JetStream stream for one purpose of one application, asked from any thread."""

    def __init__(self, background: LoopThread, servers: Sequence[str], application: str, purpose: str) -> None:
        self.background = background
        self.application = as_token(application or "default")
        self.purpose = as_token(purpose)
        name = f"ES-{self.application}-{self.purpose}"
        subjects = f"es.{self.application}.{self.purpose}.*.*"
        self.log = self.wait(JetStreamLog.connect(servers, stream=name, subjects=subjects))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the loop; the log's errors become the library's."""
        try:
            return self.background.wait(work)
        except Conflict as error:
            raise IntegrityError(str(error)) from error
        except ComfyVNError as error:
            raise OperationalError(error.message) from error

    def sequence(self, kind: str, id_: str) -> OriginatorStream:
        """Where the events of one originator, or the tracking of one upstream application, stand."""
        return OriginatorStream(self.application, self.purpose, kind, id_)

    def pattern(self, kind: str) -> str:
        """All sequences of a kind."""
        return f"es.{self.application}.{self.purpose}.{kind}.*"

    def close(self) -> None:
        """Gives the connection back."""
        self.background.wait(self.log.close())


async def notifications(
    store: Store, after: int, limit: int, stop: int | None, topics: Iterable[str]
) -> list[Notification]:
    """Up to ``limit`` notifications with ``after < id <= stop`` of the wanted topics."""
    wanted = frozenset(topics)
    found: list[Notification] = []
    batches = store.log.read(after=after, upto=stop, pattern=store.pattern(EVENTS), batch=max(1, min(limit, 1000)))
    async for batch in batches:
        found += [as_notification(one) for one in batch if not wanted or one.type in wanted]
        if len(found) >= limit:
            break
    return found[:limit]


def as_notification(one: Recorded) -> Notification:
    """A recorded event of the library as the library knows it."""
    return Notification(originator_of(one.stream.id), one.version, one.type, one.data, one.position)


def originator_token(originator_id: UUID | str) -> str:
    """An originator's id as one token of a subject that says which type it was."""
    return f"u-{originator_id.hex}" if isinstance(originator_id, UUID) else as_token(originator_id)


def originator_of(token: str) -> UUID | str:
    """The originator's id that ``originator_token`` was given."""
    kind, _, text = token.partition("-")
    if kind == "u":
        return UUID(text)
    return text if kind == "s" else base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def as_token(text: str) -> str:
    """Any text as one token of a subject: as it is where that is safe, else in base64."""
    if _SAFE.match(text):
        return f"s-{text}"
    return "b-" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
