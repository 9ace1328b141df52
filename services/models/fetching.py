"""Fetching one file into its part, again and again from where it stopped, until all of it is there.

Resuming follows RFC 9110: a range is asked for with If-Range and a strong validator, so that bytes of two different
files never meet; an answer that ignores the range begins anew, and so does one that speaks of another file.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from domain.ports.downloads import Answer, Source, SourceError
from domain.ports.model_files import FilesError, Part
from domain.studio.fault import Fault, fault
from domain.studio.model_entry import Entry
from services.models.judging import HEAD_BYTES, sniffed
from services.models.settled import settled

BUFFER_BYTES: Final = 2**20
"""How much is gathered before it is written."""

SPACE_BYTES: Final = 64 * 2**20
"""How often the disk is looked at where nobody has said how much is coming."""

LONGEST_PAUSE_SECONDS: Final = 300.0

_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")
_WHOLE: Final = re.compile(r"bytes \*/(\d{1,18})\Z")

Tell = Callable[[int, int], None]
"""Told how many bytes are there, of how many (0: nobody knows)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When a download has failed: after ``failures`` in a row that brought less than ``least_bytes`` each. To bring
    less than that in ``window_seconds`` is a failure too. ``pause_seconds`` is the first pause between two attempts."""

    failures: int = 6
    pause_seconds: float = 1.0
    window_seconds: float = 60.0
    least_bytes: int = 2**20


class Failed(Exception):
    """The file cannot be had; ``fault`` says why. ``keep``: what is there may be gone on with later."""

    def __init__(self, fault: Fault, *, keep: bool = True) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.keep = keep


class _Changed(Exception):
    """What comes is another file than what is there: begin anew."""


@dataclass(slots=True)
class Fetch:
    """One file on its way into its part. ``limit`` is the largest size that anybody allows."""

    source: Source
    part: Part
    entry: Entry
    limit: int
    pickle: bool
    tell: Tell
    patience: Patience = Patience()
    resumed: bool = False
    whole: int | None = None

    async def run(self) -> None:
        """Until the whole file is there. Raises ``Failed``, ``NotThat`` and ``FilesError``."""
        try:
            await self._again()
        except FilesError as error:
            if error.fault.code != "DISK_FULL":
                raise
            raise Failed(await self._full(error.fault)) from error

    async def _again(self) -> None:
        failures, anew = 0, 0
        while True:
            before = await self._there()
            try:
                await self._once(before)
                return
            except _Changed:
                await settled(self.part.empty)
                anew += 1
                if anew > 3:
                    raise Failed(
                        fault("DOWNLOAD_FAILED", "The server gives another file each time."), keep=False
                    ) from None
            except SourceError as error:
                failures = 0 if await self._there() - before >= self.patience.least_bytes else failures + 1
                if not error.again or failures >= self.patience.failures:
                    raise Failed(error.fault) from None
                pause = max(error.after_seconds, self.patience.pause_seconds * 2 ** min(failures, 6))
                await asyncio.sleep(min(pause, LONGEST_PAUSE_SECONDS))

    async def _there(self) -> int:
        return await settled(self.part.size)

    async def _once(self, size: int) -> None:
        memo = await settled(self.part.memo)
        validator = _validator(memo) if memo.get("url") == self.entry.url else ""
        total = memo.get("total")
        if size and validator and total == size:
            return
        if size and not validator:
            await settled(self.part.empty)
            size = 0
        headers = {"Range": f"bytes={size}-", "If-Range": validator} if size else {}
        async with self.source.get(self.entry.url, headers) as answer:
            match answer.status:
                case 206 if size:
                    size, whole = self._continued(answer, memo, size)
                    self.resumed = True
                case 200:
                    await settled(self.part.empty)
                    size, whole = 0, _number(answer.headers.get("content-length", ""))
                case 416 if size:
                    told = _WHOLE.match(answer.headers.get("content-range", ""))
                    if told and int(told[1]) == size and _same(answer.headers, memo):
                        await self._remembered(memo, size)
                        return
                    raise _Changed
                case _:
                    raise _answered(answer)
            await self._fits(answer, size, whole)
            if not size:
                await self._remembered(_memo(self.entry.url, answer.headers), whole)
            await self._taken(answer, size, whole)

    def _continued(self, answer: Answer, memo: Mapping[str, Any], size: int) -> tuple[int, int | None]:
        told = _RANGE.match(answer.headers.get("content-range", ""))
        if told is None or int(told[1]) != size or not _same(answer.headers, memo):
            raise _Changed
        whole = None if told[3] == "*" else int(told[3])
        if whole is not None and (int(told[2]) >= whole or memo.get("total") not in (None, whole)):
            raise _Changed
        return size, whole if whole is not None else memo.get("total")

    async def _fits(self, answer: Answer, size: int, whole: int | None) -> None:
        if answer.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise Failed(fault("FILE_REFUSED", "The server packs the file up although nobody asked it to."), keep=False)
        wanted = self.entry.size_bytes
        self.whole = whole or wanted
        if whole is not None and wanted is not None and whole != wanted:
            raise Failed(fault("CHECKSUM_MISMATCH", f"The server announces {whole:,} bytes; the entry says {wanted:,}.",
                               announced=whole, expected=wanted), keep=False)
        if whole is not None and whole > self.limit:
            raise Failed(fault("FILE_REFUSED", f"The file has {whole:,} bytes; {self.limit:,} are allowed here.",
                               announced=whole, allowed=self.limit, hint="The setting model_limit allows more."),
                         keep=False)
        await self._room(max(0, (whole or wanted or 0) - size))

    async def _room(self, needed: int) -> None:
        free = await settled(self.part.free)
        if needed > free or not free:
            coming = f"{needed:,} bytes are still to come" if needed else "More is still to come"
            there = await self._there()
            raise Failed(fault(
                "INSUFFICIENT_DISK_SPACE", f"{coming}, and the disk has {free:,} for them.{_stays(there)}",
                needed=needed, free=free, missing=max(needed - free, 1), kept=there,
                hint="The setting disk_reserve says how much stays free.",
            ))

    async def _full(self, why: Fault) -> Fault:
        """The same, with how much is missing as far as anybody knows."""
        there, free = await self._there(), await settled(self.part.free)
        known = {"free": free, "kept": there}
        if not self.whole:
            unknown = "Nobody has said how much is still to come."
            return fault("DISK_FULL", f"{why.message} {unknown}{_stays(there)}", **known)
        left = self.whole - there
        return fault(
            "DISK_FULL", f"{why.message} {left:,} of {self.whole:,} bytes are still to come, and it has {free:,} for "
            f"them.{_stays(there)}", needed=left, missing=max(left - free, 1), **known,
        )

    async def _taken(self, answer: Answer, size: int, whole: int | None) -> None:
        """Writes what comes. What has come stays also when the rest does not."""
        buffer = bytearray()
        looked_at = size
        self.tell(size, whole or 0)
        try:
            async for piece in self._moving(answer.pieces):
                if not size:
                    sniffed(bytes(buffer + piece)[:HEAD_BYTES], self.entry.filename, pickle=self.pickle)
                buffer += piece
                if size + len(buffer) > min(self.limit, whole or self.entry.size_bytes or self.limit):
                    buffer.clear()
                    raise Failed(
                        fault("FILE_REFUSED", "More comes than was announced, or than is allowed."), keep=False)
                if len(buffer) >= BUFFER_BYTES:
                    size += await self._written(buffer)
                    self.tell(size, whole or 0)
                    if size - looked_at >= SPACE_BYTES:
                        looked_at = size
                        await self._room(0)
        finally:
            size += await self._written(buffer)
            self.tell(size, whole or 0)
        whole = whole if whole is not None else self.entry.size_bytes
        if whole is not None and size != whole:
            raise SourceError(fault("DOWNLOAD_FAILED", f"{size:,} of {whole:,} bytes came."), again=True)
        if whole is None and not self._whole_told(answer):
            raise SourceError(fault("DOWNLOAD_FAILED", "The server does not say where the file ends."))

    def _whole_told(self, answer: Answer) -> bool:
        """Whether the end of the bytes is the end of the file: chunks say so, and so do the entry's own figures."""
        chunked = "chunked" in answer.headers.get("transfer-encoding", "").lower()
        return chunked or self.entry.sha256 is not None or self.entry.size_bytes is not None

    async def _written(self, buffer: bytearray) -> int:
        if not buffer:
            return 0
        piece = bytes(buffer)
        buffer.clear()
        await settled(self.part.write, piece)
        return len(piece)

    async def _moving(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces, as long as they come quickly enough."""
        clock = asyncio.get_running_loop().time
        began, seen = clock(), 0
        async for piece in pieces:
            seen += len(piece)
            yield piece
            if clock() - began > self.patience.window_seconds:
                if seen < self.patience.least_bytes:
                    raise SourceError(fault("DOWNLOAD_TIMEOUT", "The server hardly sends anything."), again=True)
                began, seen = clock(), 0

    async def _remembered(self, memo: Mapping[str, Any], total: int | None) -> None:
        await settled(self.part.remember, {**memo, "total": total})


def _stays(size: int) -> str:
    """What becomes of the bytes that came."""
    if not size:
        return ""
    return f" The {size:,} bytes that came stay: asked for again, it goes on behind them; cancelled, they go."


def _answered(answer: Answer) -> SourceError:
    status = answer.status
    match status:
        case 401 | 403:
            return SourceError(fault(
                "AUTH_MISSING" if status == 401 else "AUTH_INSUFFICIENT_PERMISSIONS",
                f"The server does not give us the file (HTTP {status}): it wants a key, or its terms accepted there.",
                status=status, hint="Keys of hubs are connected as providers: hub_huggingface, hub_civitai.",
            ))
        case 404 | 410:
            return SourceError(fault("FILE_NOT_FOUND", f"The file is not there (HTTP {status}).", status=status))
        case 429 | 503:
            return SourceError(fault("RATE_LIMIT_EXCEEDED" if status == 429 else "SERVICE_UNAVAILABLE",
                                     f"The server asks to wait (HTTP {status}).", status=status), again=True,
                               after_seconds=_after(answer.headers.get("retry-after", "")))
        case _ if status >= 500 or status == 408:
            return SourceError(
                fault("DOWNLOAD_FAILED", f"The server fails (HTTP {status}).", status=status), again=True)
        case _:
            return SourceError(fault("DOWNLOAD_FAILED", f"The server answers with HTTP {status}.", status=status))


def _memo(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    return {"url": url, "etag": headers.get("etag", "")[:1000], "modified": headers.get("last-modified", "")[:100],
            "date": headers.get("date", "")[:100]}


def _validator(memo: Mapping[str, Any]) -> str:
    """What If-Range may hold: a strong tag, else a date a minute older than the answer (RFC 9110, 8.8.2)."""
    etag, modified, date = (str(memo.get(name, "")) for name in ("etag", "modified", "date"))
    if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', etag):
        return etag
    if etag:  # a weak tag: the server itself says that equal tags need not be equal bytes
        return ""
    try:
        return modified if (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds() >= 60 else ""
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _same(headers: Mapping[str, str], memo: Mapping[str, Any]) -> bool:
    """Whether an answer speaks of the file that is there, as far as it says anything."""
    etag, modified = headers.get("etag", ""), headers.get("last-modified", "")
    if memo.get("etag"):
        return etag in ("", memo["etag"])
    return modified in ("", memo.get("modified", ""))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _after(text: str) -> float:
    return min(float(_number(text) or 0), LONGEST_PAUSE_SECONDS)


