"""The one suite that every engine adapter passes: what the ``Engine`` protocol promises, whatever stands behind it.

An adapter's test is a few lines: a subclass of ``Rig`` that knows how to make the adapter, a small task, and how to
misbehave on the other side; and a subclass of ``EngineSuite`` that opens it::

    class TestFal(EngineSuite):
        @asynccontextmanager
        async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
            async with FakeFal() as server:
                async with FalRig(server) as rig:
                    yield rig

What an engine cannot do is left as it is in ``Rig``: those tests say why they do not run.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pytest

from domain.ports.engines import (
    Accepted,
    Balance,
    Cancelled,
    Cancelling,
    Done,
    Engine,
    EngineError,
    Failed,
    Health,
    Lost,
    Material,
    Operation,
    Outcome,
    Product,
    Submission,
    Task,
    Waiting,
    Working,
)
from domain.studio.fault import CODES, Fault, fault

OVER = (Done, Failed, Cancelled, Lost)
"""Outcomes after which nothing follows."""

NONSENSE: tuple[tuple[str, bytes], ...] = (
    ("an HTML page", b"<html><body>Welcome to the hotel's network</body></html>"),
    ("nothing", b""),
    ("JSON of another shape", b'[1, {"status": []}]'),
    ("a JSON text", b'"fine"'),
    ("null", b"null"),
    ("nested very deeply", b"[" * 100_000),
    ("numbers without end", b'{"id": ' + b"9" * 5_000 + b"}"),
    ("not UTF-8", b'{"id": "\xff\xfe"}'),
    ("half of a surrogate pair", b'{"id": "\\ud800", "status": "\\ud800", "error": "\\ud800"}'),
)
"""Answers, all with status 200, that no adapter may believe or stumble over."""


class Unable(Exception):
    """The engine has no such thing, or nobody can bring it about; the sentence says so."""


class Rig:
    """An adapter on its stand: how to make it, a small task for it, and levers of the other side.

    Levers hold for tasks submitted after they were pulled. ``secrets`` must not be found in anything that is said.
    """

    pause: ClassVar[float] = 0.02
    """Seconds between two polls of the suite."""

    patience: ClassVar[float] = 20.0
    """Seconds after which the suite gives up; also the longest that one call to a silent engine may take."""

    secrets: tuple[str, ...] = ()

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def again(self) -> Engine:
        """Another adapter of the same engine, as the next worker has after a crash. The suite closes it."""
        raise Unable("a second worker of this engine shares nothing with the first")

    def task(self, attempt: str) -> Task:
        """A small task that the engine can do now."""
        raise NotImplementedError

    def check(self, product: Product, content: bytes) -> None:
        """Fails unless these bytes are what ``task`` asks for."""
        assert content

    def working_on(self, attempt: str, material: Material) -> Task:
        """A small task with one material as its input."""
        raise Unable("this engine takes no files")

    async def received(self, material: Material) -> bytes | None:
        """What the engine was given for a material."""
        raise Unable("what this engine was given cannot be looked at")

    def unsuitable(self, attempt: str) -> Sequence[Task]:
        """Tasks that must be refused before they cost anything: unknown models, values out of range, missing ones."""
        raise Unable("this engine takes whatever it is given")

    def submissions(self) -> int:
        """How many tasks the engine has taken so far."""
        raise Unable("nobody counts what this engine takes")

    async def hold(self, stage: Literal["waiting", "working"]) -> None:
        """Tasks stay where they are, not begun or not ended, until ``release``."""
        raise Unable(f"tasks of this engine cannot be held while {stage}")

    async def release(self) -> None:
        """What was held goes on."""

    async def fail_next(self) -> None:
        """The next task is accepted, begun, and fails at the engine."""
        raise Unable("this engine cannot be made to fail")

    async def drop_next(self) -> None:
        """The next submission is accepted, and the connection breaks before the answer."""
        raise Unable("there is no connection that could break")

    async def silence(self) -> None:
        """The engine takes connections and says nothing."""
        raise Unable("this engine cannot fall silent")

    async def vanish(self) -> None:
        """Nothing answers any more."""
        raise Unable("this engine cannot be away")

    async def forget(self) -> None:
        """The engine forgets every task, as after a restart."""
        raise Unable("this engine does not forget")

    async def babble(self, content: bytes) -> None:
        """Every answer is these bytes with status 200."""
        raise Unable("this engine says nothing that could be nonsense")

    async def flood(self) -> None:
        """Every answer but a product's bytes is a document of 200 MB or more."""
        raise Unable("this engine cannot say too much")

    async def needs(self, lever: str, *given: Any) -> None:
        """Raises ``Unable`` at once when a lever of the other side is not there, rather than after the work before."""
        if getattr(type(self), lever) is getattr(Rig, lever):
            await getattr(self, lever)(*given)

    async def lose_products(self) -> None:
        """The engine no longer has the files that it made."""
        raise Unable("files of this engine are not lost")

    async def endless_products(self) -> None:
        """The bytes of every product never end."""
        raise Unable("files of this engine end")


GONE = fault("FILE_NOT_FOUND", "The bytes of asset 0123456789abcdef are not kept here any more.")
"""What a ``Reading`` says of a material that is not there."""


class Stored:
    """A ``Reading`` of bytes in memory, in small pieces."""

    def __init__(self, *contents: bytes, media_type: str = "image/png", piece: int = 1000) -> None:
        self._piece = piece
        self._contents = {f"sha256:{hashlib.sha256(one).hexdigest()}": one for one in contents}
        self.materials = [
            Material(digest, len(one), media_type, f"given-{number}") for number, (digest, one)
            in enumerate(self._contents.items())
        ]

    @asynccontextmanager
    async def __call__(self, material: Material) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._pieces(material)

    async def _pieces(self, material: Material) -> AsyncIterator[bytes]:
        if material.digest not in self._contents:
            raise EngineError(GONE)
        content = self._contents[material.digest]
        for start in range(0, len(content), self._piece):
            yield content[start : start + self._piece]


class Torn(Stored):
    """One whose blobs vanish while they are read: the first piece comes, and nothing after it."""

    async def _pieces(self, material: Material) -> AsyncIterator[bytes]:
        async for piece in super()._pieces(material):
            yield piece[: len(piece) // 2]
            raise EngineError(GONE)


NOTHING = Stored()
"""For tasks without inputs."""


def picture(width: int = 48, height: int = 32, color: tuple[int, int, int] = (200, 30, 60)) -> bytes:
    """A small PNG."""
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.new("RGB", (width, height), color).save(out, "PNG")
    return out.getvalue()


async def until(rig: Rig, accepted: Accepted, *kinds: type, engine: Engine | None = None) -> Any:
    """Polls until the outcome is one of ``kinds``, or any that nothing follows; fails after the rig's patience."""
    deadline = time.monotonic() + rig.patience
    wanted = kinds or OVER
    while True:
        outcome = await (engine or rig.engine).poll(accepted)
        check_outcome(outcome)
        if isinstance(outcome, wanted):
            return outcome
        assert not isinstance(outcome, OVER), f"{outcome} instead of {[kind.__name__ for kind in wanted]}"
        assert time.monotonic() < deadline, f"still {outcome} after {rig.patience} s"
        await asyncio.sleep(rig.pause)


def check_outcome(outcome: Outcome) -> None:
    """What any outcome promises."""
    match outcome:
        case Waiting(ahead=ahead):
            assert ahead is None or ahead >= 0
        case Working(fraction=fraction):
            assert fraction is None or 0 <= fraction <= 1
        case Done(products=products, cost=cost):
            assert products
            assert cost is None or cost >= 0
            assert len({product.name for product in products}) == len(products)
            for product in products:
                assert product.name
                assert "/" in product.media_type
                json.dumps(dict(product.memo), allow_nan=False)
            json.dumps(dict(outcome.facts), allow_nan=False)
        case Failed(fault=fault):
            check_fault(fault)
        case Cancelled() | Lost():
            pass
        case _:
            raise AssertionError(f"{outcome!r} is no outcome")


def check_fault(fault: Fault) -> None:
    """A fault has a known code and a sentence, and tells nothing of the machine or of secrets."""
    assert fault.code in CODES
    assert fault.message.strip()
    said = fault.model_dump_json()
    assert len(said) < 20_000
    for place in ("/home/", "/root/", "/Users/", "Traceback (most"):
        assert place not in said


async def refused(work: Awaitable[Any]) -> EngineError:
    """The error of a call that must raise ``EngineError``, checked."""
    with pytest.raises(EngineError) as caught:
        await work
    check_fault(caught.value.fault)
    return caught.value


async def fetched(engine: Engine, accepted: Accepted, product: Product, most: int = 64 * 2**20) -> bytes:
    """The bytes of a product, up to ``most``."""
    content = bytearray()
    async with engine.fetch(accepted, product) as pieces:
        async for piece in pieces:
            content += piece
            if len(content) >= most:
                break
    return bytes(content)


def remembered(accepted: Accepted) -> Accepted:
    """As it comes back from an event: through JSON."""
    return Accepted(accepted.external_id, json.loads(json.dumps(dict(accepted.memo), allow_nan=False)))


Scenario = Callable[[Rig], Awaitable[None]]
Play = Callable[[Scenario], None]


class EngineSuite:
    """Subclass it, name the subclass ``Test…``, and open a rig."""

    def open(self, tmp_path: Path) -> AbstractAsyncContextManager[Rig]:
        """A fresh adapter with a fresh engine behind it; closed afterwards by whoever opened it."""
        raise NotImplementedError

    @pytest.fixture
    def play(self, tmp_path: Path) -> Play:
        """Runs one scenario on a fresh rig; afterwards nothing of the adapter may still be running."""

        async def whole(scenario: Scenario) -> None:
            before = asyncio.all_tasks()
            async with self.open(tmp_path) as rig:
                try:
                    await scenario(rig)
                finally:
                    await rig.engine.close()
            await asyncio.sleep(0)
            left = {one for one in asyncio.all_tasks() - before if not one.done()}
            assert not left, f"still running after close: {left}"

        def run(scenario: Scenario) -> None:
            try:
                asyncio.run(whole(scenario))
            except Unable as why:
                pytest.skip(str(why))

        return run

    # What it says about itself

    def test_it_says_what_it_is(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            traits = rig.engine.traits
            assert traits.id
            assert traits.name
            assert traits.slots >= 1
            assert traits.poll_seconds > 0
            assert not (traits.paid and traits.kind == "local")
            assert rig.engine.traits == traits

        play(scenario)

    def test_it_is_well(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            health = await rig.engine.health()
            assert isinstance(health, Health)
            assert health.status in ("running", "connected")
            json.dumps(dict(health.facts), allow_nan=False)
            await rig.engine.verify()
            balance = await rig.engine.balance()
            assert balance is None or isinstance(balance, Balance)

        play(scenario)

    def test_it_offers_what_it_can_do(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            offers = await rig.engine.offers()
            known = [(offer.operation, offer.model) for offer in offers]
            assert len(set(known)) == len(known)
            assert {operation for operation, _ in known} <= set(get_args(Operation))
            for offer in offers:
                json.dumps(dict(offer.parameters), allow_nan=False)
            task = rig.task("offered")
            ready = {(offer.operation, offer.model) for offer in offers if not offer.missing}
            assert (task.operation, task.model) in ready

        play(scenario)

    def test_an_estimate_is_none_or_a_number_with_a_unit(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            estimate = await rig.engine.estimate(rig.task("estimated"))
            if estimate is not None:
                amount, unit = estimate
                assert amount >= 0
                assert unit
                assert rig.engine.traits.paid or amount == 0

        play(scenario)

    # From a task to its files

    def test_a_task_is_done_and_its_files_are_fetched(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            assert accepted.external_id
            done: Done = await until(rig, accepted, Done)
            for product in done.products:
                rig.check(product, await fetched(rig.engine, accepted, product))

        play(scenario)

    def test_polling_and_fetching_again_says_the_same(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            first: Done = await until(rig, accepted, Done)
            second: Done = await until(rig, accepted, Done)
            assert [one.name for one in first.products] == [one.name for one in second.products]
            assert first.facts == second.facts
            one, other = [await fetched(rig.engine, accepted, each.products[0]) for each in (first, second)]
            assert one == other

        play(scenario)

    def test_what_was_accepted_outlives_the_worker(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            accepted = remembered(await rig.engine.submit(rig.task("one"), NOTHING))
            await rig.engine.close()
            other = await rig.again()
            try:
                done: Done = await until(rig, accepted, Done, engine=other)
                product = done.products[0]
                stored = Product(product.name, product.media_type, json.loads(json.dumps(dict(product.memo))))
                rig.check(stored, await fetched(other, accepted, stored))
            finally:
                await other.close()

        play(scenario)

    def test_tasks_side_by_side_keep_apart(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            several = await asyncio.gather(*(rig.engine.submit(rig.task(f"side-{n}"), NOTHING) for n in range(4)))
            assert len({one.external_id for one in several}) == 4
            outcomes = await asyncio.gather(*(until(rig, one, Done) for one in several))
            for accepted, done in zip(several, outcomes, strict=True):
                rig.check(done.products[0], await fetched(rig.engine, accepted, done.products[0]))

        play(scenario)

    def test_waiting_and_working_are_told_apart_from_done(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.hold("working")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            await until(rig, accepted, Working)
            await rig.release()
            await until(rig, accepted, Done)

        play(scenario)

    def test_what_has_not_begun_waits(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.hold("waiting")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            assert isinstance(await rig.engine.poll(accepted), Waiting)
            await rig.release()
            await until(rig, accepted, Done)

        play(scenario)

    # Inputs

    def test_the_engine_is_given_exactly_the_bytes_of_a_material(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            stored = Stored(picture())
            material = stored.materials[0]
            accepted = await rig.engine.submit(rig.working_on("given", material), stored)
            await until(rig, accepted, Done)
            assert await rig.received(material) == picture()

        play(scenario)

    @pytest.mark.parametrize("reading", [Stored, Torn], ids=["gone", "vanishing"])
    def test_a_material_that_cannot_be_read_is_submitted_to_nobody(self, play: Play, reading: type[Stored]) -> None:
        async def scenario(rig: Rig) -> None:
            before = rig.submissions()
            missing = Stored(picture(color=(1, 2, 3))).materials[0]
            stored = reading(picture() if reading is Stored else picture(color=(1, 2, 3)))
            task = rig.working_on("missing", missing)
            for _ in range(2):  # asked again it is no other, and nothing of the first time is in the way
                error = await refused(rig.engine.submit(task, stored))
                assert error.submission is Submission.REFUSED
                assert error.fault == GONE
            assert rig.submissions() == before
            if rig.engine.traits.finds_attempts:
                assert await rig.engine.find(task.attempt) is None
            accepted = await rig.engine.submit(task, Stored(picture(color=(1, 2, 3))))
            await until(rig, accepted, Done)

        play(scenario)

    def test_unsuitable_tasks_are_refused_and_nothing_is_submitted(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            for task in rig.unsuitable("unsuitable"):
                error = await refused(rig.engine.submit(task, NOTHING))
                assert error.submission is Submission.REFUSED, task
                assert not error.fault.retryable, f"{task}: {error.fault}"
            accepted = await rig.engine.submit(rig.task("after"), NOTHING)
            await until(rig, accepted, Done)

        play(scenario)

    # Asking again after a crash

    def test_an_attempt_is_found_wherever_it_stands(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            self._finds(rig)
            assert await rig.engine.find("never-submitted") is None
            task = rig.task("crashed")
            accepted = await rig.engine.submit(task, NOTHING)
            other = await rig.again()
            try:
                found = await other.find(task.attempt)
                assert found is not None
                assert found.external_id == accepted.external_id
                await until(rig, found, Done, engine=other)
                found = await other.find(task.attempt)
                assert found is not None
                done: Done = await until(rig, found, Done, engine=other)
                rig.check(done.products[0], await fetched(other, found, done.products[0]))
            finally:
                await other.close()

        play(scenario)

    def test_an_attempt_that_waits_or_works_is_found(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            self._finds(rig)
            await rig.hold("waiting")
            task = rig.task("held")
            await rig.engine.submit(task, NOTHING)
            found = await rig.engine.find(task.attempt)
            assert found is not None
            await rig.release()
            await until(rig, found, Done)

        play(scenario)

    def test_a_broken_answer_leaves_it_open_and_is_not_submitted_twice(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            before = rig.submissions()
            await rig.drop_next()
            task = rig.task("dropped")
            error = await refused(rig.engine.submit(task, NOTHING))
            assert error.submission is Submission.UNKNOWN
            assert rig.submissions() == before + 1
            if rig.engine.traits.finds_attempts:
                found = await rig.engine.find(task.attempt)
                assert found is not None
                await until(rig, found, Done)
                assert rig.submissions() == before + 1

        play(scenario)

    def test_submitting_a_found_attempt_again_takes_it_once(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            self._finds(rig)
            before = rig.submissions()
            task = rig.task("twice")
            first = await rig.engine.submit(task, NOTHING)
            second = await rig.engine.submit(task, NOTHING)
            assert first.external_id == second.external_id
            assert rig.submissions() == before + 1
            await until(rig, second, Done)

        play(scenario)

    def test_a_submission_that_is_called_off_leaves_the_adapter_usable(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            sending = asyncio.create_task(rig.engine.submit(rig.task("called-off"), NOTHING))
            await asyncio.sleep(0)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            accepted = await rig.engine.submit(rig.task("after"), NOTHING)
            await until(rig, accepted, Done)

        play(scenario)

    # Cancelling

    def test_a_waiting_task_is_cancelled(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.hold("waiting")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            answer = await rig.engine.cancel(accepted)
            assert answer in (Cancelling.CANCELLED, Cancelling.REQUESTED, Cancelling.UNSUPPORTED)
            await rig.release()
            await self._ends_as_told(rig, accepted, answer)

        play(scenario)

    def test_a_working_task_is_cancelled(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.hold("working")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            await until(rig, accepted, Working)
            answer = await rig.engine.cancel(accepted)
            assert answer in (Cancelling.CANCELLED, Cancelling.REQUESTED, Cancelling.UNSUPPORTED)
            await rig.engine.cancel(accepted)  # asking twice is harmless
            await rig.release()
            await self._ends_as_told(rig, accepted, answer)

        play(scenario)

    def test_cancelling_what_is_done_is_too_late_and_keeps_the_files(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            await until(rig, accepted, Done)
            assert await rig.engine.cancel(accepted) in (Cancelling.TOO_LATE, Cancelling.UNSUPPORTED)
            done: Done = await until(rig, accepted, Done)
            rig.check(done.products[0], await fetched(rig.engine, accepted, done.products[0]))

        play(scenario)

    def test_cancelling_one_leaves_the_others_alone(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.hold("waiting")
            kept, dropped = [await rig.engine.submit(rig.task(name), NOTHING) for name in ("kept", "dropped")]
            await rig.engine.cancel(dropped)
            await rig.release()
            done: Done = await until(rig, kept, Done)
            rig.check(done.products[0], await fetched(rig.engine, kept, done.products[0]))

        play(scenario)

    # When the engine fails, or is not there

    def test_a_task_that_fails_says_why(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.fail_next()
            accepted = await rig.engine.submit(rig.task("failing"), NOTHING)
            failed: Failed = await until(rig, accepted, Failed)
            self._tells_no_secret(rig, failed)
            accepted = await rig.engine.submit(rig.task("after"), NOTHING)
            await until(rig, accepted, Done)

        play(scenario)

    def test_an_engine_that_is_away_has_taken_nothing(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.needs("vanish")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            done: Done = await until(rig, accepted, Done)
            await rig.vanish()
            error = await refused(rig.engine.submit(rig.task("two"), NOTHING))
            assert error.submission is Submission.REFUSED
            assert error.fault.retryable
            await refused(rig.engine.poll(accepted))
            await refused(rig.engine.cancel(accepted))
            await refused(rig.engine.verify())
            await refused(fetched(rig.engine, accepted, done.products[0]))
            health = await rig.engine.health()
            assert health.status in ("offline", "error", "not_connected", "not_installed")
            assert health.remedy is not None
            if rig.engine.traits.finds_attempts:
                await refused(rig.engine.find("two"))

        play(scenario)

    def test_a_silent_engine_is_left_after_a_while(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.needs("silence")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            await until(rig, accepted, Done)
            await rig.silence()
            async with asyncio.timeout(rig.patience):
                await refused(rig.engine.poll(accepted))
            async with asyncio.timeout(rig.patience):
                await refused(rig.engine.submit(rig.task("two"), NOTHING))
            async with asyncio.timeout(rig.patience):
                assert (await rig.engine.health()).status not in ("running", "connected")

        play(scenario)

    def test_what_the_engine_has_forgotten_is_lost_and_not_done(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.needs("forget")
            task = rig.task("one")
            accepted = await rig.engine.submit(task, NOTHING)
            await until(rig, accepted, Done)
            await rig.forget()
            assert isinstance(await rig.engine.poll(accepted), Lost)
            assert await rig.engine.cancel(accepted) in (
                Cancelling.UNKNOWN_TASK, Cancelling.TOO_LATE, Cancelling.UNSUPPORTED
            )
            if rig.engine.traits.finds_attempts:
                assert await rig.engine.find(task.attempt) is None

        play(scenario)

    @pytest.mark.parametrize("content", [content for _, content in NONSENSE], ids=[name for name, _ in NONSENSE])
    def test_nonsense_is_an_engine_error_and_nothing_else(self, play: Play, content: bytes) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.needs("babble", content)
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            done: Done = await until(rig, accepted, Done)
            await rig.babble(content)
            assert (await rig.engine.health()).status not in ("running", "connected")
            await self._only_engine_errors(rig, accepted, done)

        play(scenario)

    def test_an_answer_without_end_is_not_read_to_its_end(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.needs("flood")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            await until(rig, accepted, Done)
            await rig.flood()
            async with asyncio.timeout(rig.patience):
                await refused(rig.engine.poll(accepted))
            async with asyncio.timeout(rig.patience):
                await refused(rig.engine.submit(rig.task("two"), NOTHING))

        play(scenario)

    def test_files_that_are_gone_are_said_to_be_gone(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.needs("lose_products")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            done: Done = await until(rig, accepted, Done)
            await rig.lose_products()
            gone = await refused(fetched(rig.engine, accepted, done.products[0]))
            assert gone.fault.code != "UNKNOWN_ERROR"
            again = await refused(fetched(rig.engine, accepted, done.products[0]))
            assert again.fault.code == gone.fault.code, "asking once more changes nothing"

        play(scenario)

    def test_a_file_without_end_can_be_left(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            await rig.endless_products()
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            done: Done = await until(rig, accepted, Done)
            async with asyncio.timeout(rig.patience):
                try:
                    assert len(await fetched(rig.engine, accepted, done.products[0], 4 * 2**20)) >= 4 * 2**20
                except EngineError as error:  # an adapter may have a bound of its own
                    check_fault(error.fault)

        play(scenario)

    # Secrets, and the end

    def test_secrets_are_nowhere(self, play: Play, caplog: pytest.LogCaptureFixture) -> None:
        async def scenario(rig: Rig) -> None:
            if not rig.secrets:
                raise Unable("this engine knows no secrets")
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            done = await until(rig, accepted, Done)
            said: list[Any] = [accepted, done, rig.engine.traits, rig.engine, await rig.engine.health(),
                               await rig.engine.offers(), await rig.engine.balance()]
            await rig.fail_next()
            said.append(await until(rig, await rig.engine.submit(rig.task("two"), NOTHING)))
            await rig.vanish()
            for work in (rig.engine.poll(accepted), rig.engine.submit(rig.task("three"), NOTHING)):
                error = await refused(work)
                said += [error, error.fault, error.__cause__, error.__context__]
            for one in said:
                self._tells_no_secret(rig, one)
            for secret in rig.secrets:
                assert secret not in caplog.text

        caplog.set_level("DEBUG")
        play(scenario)

    def test_closing_twice_is_harmless(self, play: Play) -> None:
        async def scenario(rig: Rig) -> None:
            accepted = await rig.engine.submit(rig.task("one"), NOTHING)
            await until(rig, accepted)
            await rig.engine.close()
            await rig.engine.close()
            with suppress(EngineError):  # what comes late is answered, or refused as everything is
                check_outcome(await rig.engine.poll(accepted))

        play(scenario)

    # What the tests above share

    @staticmethod
    def _finds(rig: Rig) -> None:
        if not rig.engine.traits.finds_attempts:
            raise Unable("this engine cannot say whether it accepted an attempt")

    @staticmethod
    async def _ends_as_told(rig: Rig, accepted: Accepted, answer: Cancelling) -> None:
        outcome = await until(rig, accepted, *OVER)
        if answer is Cancelling.CANCELLED:
            assert isinstance(outcome, Cancelled | Lost), outcome
        elif answer is Cancelling.REQUESTED:
            assert isinstance(outcome, Cancelled | Done | Lost), outcome
        else:
            assert isinstance(outcome, Done), outcome

    @staticmethod
    async def _only_engine_errors(rig: Rig, accepted: Accepted, done: Done) -> None:
        engine = rig.engine
        await refused(engine.submit(rig.task("two"), NOTHING))
        with_answers: list[Callable[[], Awaitable[Any]]] = [
            lambda: engine.poll(accepted), lambda: engine.cancel(accepted), engine.verify, engine.balance,
            engine.offers, lambda: fetched(engine, accepted, done.products[0]),
        ]
        if engine.traits.finds_attempts:
            with_answers.append(lambda: engine.find("two"))
        for ask in with_answers:
            try:
                answer = await ask()
            except EngineError as error:
                check_fault(error.fault)
            else:
                assert not isinstance(answer, Done), "nonsense was taken for a result"

    @staticmethod
    def _tells_no_secret(rig: Rig, one: Any) -> None:
        said = f"{one!r} {one}" + (json.dumps(dict(one)) if isinstance(one, Mapping) else "")
        for secret in rig.secrets:
            assert secret not in said, f"a secret is in {type(one).__name__}"
