"""The documents tell the truth: schemathesis asks by the OpenAPI document, and nothing undocumented comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis.errors
import jsonschema_rs
import pytest
import schemathesis
from door import Door, door, on_socket, run
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from services.registry import REGISTRY

EXAMPLES = int(os.environ.get("COMFYVN_TEST_EXAMPLES", "2"))
"""Good and as many bad requests per operation. Nothing is random: more only go deeper."""

CHECKS = (
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    negative_data_rejection, unsupported_method,
)


@contextlib.contextmanager
def served() -> Iterator[tuple[str, dict[str, Any]]]:
    """A studio behind a real server in a thread of its own: its address and its OpenAPI document."""
    ready, told = threading.Event(), {}

    async def scenario() -> None:
        done = asyncio.Event()
        async with door(wait_seconds=5) as here, on_socket(here.app) as url:
            await _filled(here)
            told.update(url=url, document=here.app.openapi(), stop=(asyncio.get_running_loop(), done))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(scenario()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield told["url"], told["document"]
    finally:
        loop, done = told["stop"]
        loop.call_soon_threadsafe(done.set)
        thread.join(30)


async def _filled(here: Door) -> None:
    await here.forks(3)
    await here.fork("default", params={"project": "default"}, status=201)


@pytest.mark.timeout(900)
def test_schemathesis_finds_no_500_and_nothing_undocumented() -> None:
    with served() as (url, document):
        # A stream does not end by itself: it is asked in tests of its own.
        schema = schemathesis.openapi.from_dict(document).exclude(path="/events/sse")
        schema.config.base_url = url
        asked, failed = 0, []
        for result in schema.get_all_operations():
            operation = result.ok()
            try:
                asked += _ask(operation)
            except (FailureGroup, Failure) as failure:
                failed.append(f"{operation.label}\n{_told(failure)}")
        assert not failed, f"{len(failed)} operations:\n\n" + "\n\n".join(failed)
        assert asked > len(REGISTRY.askings) * 2 * (EXAMPLES + 1)


def _told(failure: BaseException) -> str:
    inner = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
    return "\n".join(str(one)[:1500] for one in (failure, *inner))


def _ask(operation: Any) -> int:
    # The second address of a command differs in how the id gets in: its body is read by the same code.
    second = operation.definition.raw.get("operationId", "").endswith("_resource")
    examples = 1 if second else EXAMPLES
    return sum(_ask_in(mode, operation, examples) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))


def _ask_in(mode: GenerationMode, operation: Any, examples: int) -> int:
    count = 0

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal count
        count += 1
        case.call_and_validate(checks=CHECKS)

    # Some operations have nothing that could be wrong in a way that schemathesis knows.
    with contextlib.suppress(hypothesis.errors.Unsatisfiable):
        ask()
    return count


def test_every_door_is_in_the_document() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            document = (await here.client.get("/openapi.json")).json()
            for asking in REGISTRY.askings.values():
                operation = document["paths"][f"/api/commands/{asking.name}"]["post"]
                assert {"200", "201", "400", "404", "409", "412", "422", "423", "503"} <= operation["responses"].keys()
                if asking.route:
                    method, _, path = asking.route.partition(" ")
                    assert method.lower() in document["paths"][path]
            for view in REGISTRY.views.values():
                assert "get" in document["paths"][view.path]
            for path in ("/api/log", "/api/log/{position}", "/events/sse", "/health", "/status", "/metrics"):
                assert "get" in document["paths"][path]
            ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
            assert len(ids) == len(set(ids))

    run(scenario)


def test_every_reference_in_the_documents_leads_somewhere() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for path in ("/openapi.json", "/asyncapi.json"):
                document = (await here.client.get(path)).json()
                for reference in _references(document):
                    place: Any = document
                    for part in reference.removeprefix("#/").split("/"):
                        assert part in place, f"{path}: {reference}"
                        place = place[part]

    run(scenario)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_examples_in_the_document_are_accepted_by_the_models() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            document = here.app.openapi()
            found = 0
            for asking in REGISTRY.askings.values():
                body = document["paths"][f"/api/commands/{asking.name}"]["post"]["requestBody"]
                example = body["content"]["application/json"].get("example")
                if example is not None:
                    asking.command.model_validate(example)
                    found += 1
            assert found >= len(REGISTRY.askings) * 2 // 3

    run(scenario)


def test_the_asyncapi_document_describes_every_event_that_is_streamed() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            document = (await here.client.get("/asyncapi.json")).json()
            assert document["asyncapi"] == "3.0.0"
            assert {channel["address"] for channel in document["channels"].values()} == {
                "/events/sse", "/events/ws", "/jobs/ws", "/api/jobs/{job_id}/events",
                "vn.{project}.{worldline}.{category}.{id}",
            }
            for name in REGISTRY.event_types:
                for channel, suffix in (("sse", "Line"), ("ws", "Line"), ("nats", "")):
                    assert f"{name}{suffix}" in document["channels"][channel]["messages"]
            await here.fork("night", status=201)
            (event,) = (await here.client.get("/api/log")).json()["items"]
            schema = document["components"]["messages"][f"{event['type']}Line"]["payload"]
            whole = schema | {"components": document["components"]}
            assert jsonschema_rs.is_valid(whole, event)
            assert not jsonschema_rs.is_valid(whole, event | {"data": {"worldline_id": 3}})

    run(scenario)


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json"])
def test_documents_are_the_same_every_time(path: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            first = await here.client.get(path)
            assert first.status_code == 200
            assert (await here.client.get(path)).content == first.content

    run(scenario)
