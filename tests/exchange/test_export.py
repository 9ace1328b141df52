"""Exports: asked for, taken up, told about, finished, failed or cancelled."""

from __future__ import annotations

import pytest
from behaviour import given

from commands.exchange.export import (
    CancelExport,
    FailExport,
    FinishExport,
    ReportExport,
    RequestExport,
    StartExport,
)
from domain.errors import Invalid, NotFound, Refused
from domain.exchange.export import (
    ATTEMPTS,
    ExportAdvanced,
    ExportCancelled,
    ExportFailed,
    ExportFinished,
    ExportRequested,
    ExportStarted,
    Failure,
    Order,
    Result,
)

ORDER = Order(worldlines=("main", "what-if"), position=7, povs=("mara",))
REQUESTED = ExportRequested(export_id="e1", order=ORDER, decisions=("d1",))
STARTED = ExportStarted(export_id="e1", attempt=1)
RESULT = Result(
    digest="0" * 64, size=10, name="demo.zip", position=7, files=3, new=3, modified=0, unchanged=0, removed=0,
    missing=1, unused=0, recipe="sha256:1",
)
FINISHED = ExportFinished(export_id="e1", result=RESULT)
FAILURE = Failure(error="story_incomplete", message="It names scenes that are not there.")
CANCELLED = ExportCancelled(export_id="e1", reason="a typo")


def test_an_export_is_asked_for_and_pins_what_stands_now() -> None:
    order = Order(timeline="main")
    when = given().when(RequestExport(export_id="e1", order=order))
    when.then(ExportRequested(export_id="e1", order=order.model_copy(update={"position": 100}), decisions=()))
    when.and_again_nothing()


def test_an_export_of_the_past_keeps_its_position() -> None:
    given().when(RequestExport(export_id="e1", order=ORDER, decisions=("d1",))).then(REQUESTED)


def test_the_future_is_not_exported() -> None:
    given().when(RequestExport(export_id="e1", order=Order(position=101))).then_refused("position_in_future", Invalid)


def test_another_order_under_the_same_id_is_refused() -> None:
    given(REQUESTED).when(RequestExport(export_id="e1", order=Order())).then_refused("export_exists", Refused)


@pytest.mark.parametrize("order", [{"timeline": "main", "scene": "intro"}, {"worldlines": ("main", "main")}])
def test_an_order_that_contradicts_itself_is_none(order: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        RequestExport.model_validate({"order": order})


def test_a_worker_takes_it_up_and_another_after_it() -> None:
    given(REQUESTED).when(StartExport(export_id="e1")).then(STARTED)
    given(REQUESTED, STARTED).when(StartExport(export_id="e1")).then(ExportStarted(export_id="e1", attempt=2))


def test_an_export_over_which_workers_die_fails() -> None:
    died = [ExportStarted(export_id="e1", attempt=one) for one in range(1, ATTEMPTS + 1)]
    when = given(REQUESTED, *died).when(StartExport(export_id="e1"))
    (failed,) = when._decide()
    assert isinstance(failed, ExportFailed)
    assert failed.failure.error == "workers_died"


def test_a_worker_tells_how_far_it_is() -> None:
    when = given(REQUESTED, STARTED).when(ReportExport(export_id="e1", phase="writing", done=3, total=9))
    when.then(ExportAdvanced(export_id="e1", phase="writing", done=3, total=9)).and_again_nothing()


@pytest.mark.parametrize("command", [
    StartExport(export_id="e1"), ReportExport(export_id="e1", phase="packing"),
    FinishExport(export_id="e1", result=RESULT), FailExport(export_id="e1", failure=FAILURE),
])
def test_nothing_is_done_for_an_export_that_nobody_wants(command: StartExport) -> None:
    given(REQUESTED, STARTED, CANCELLED).when(command).then_refused("export_cancelled", Refused)


def test_it_is_finished_once() -> None:
    given(REQUESTED, STARTED).when(FinishExport(export_id="e1", result=RESULT)).then(FINISHED).and_again_nothing()
    other = RESULT.model_copy(update={"digest": "1" * 64})
    given(REQUESTED, FINISHED).when(FinishExport(export_id="e1", result=other)).then_refused("export_finished")


def test_it_fails_and_says_why() -> None:
    given(REQUESTED).when(FailExport(export_id="e1", failure=FAILURE)).then(
        ExportFailed(export_id="e1", failure=FAILURE)
    )


def test_it_is_cancelled_before_it_is_over() -> None:
    given(REQUESTED).when(CancelExport(export_id="e1", reason="a typo")).then(CANCELLED).and_again_nothing()
    given(REQUESTED, FINISHED).when(CancelExport(export_id="e1")).then_refused("export_finished", Refused)


def test_there_is_no_such_export() -> None:
    given().when(CancelExport(export_id="e1")).then_refused("unknown_export", NotFound)
