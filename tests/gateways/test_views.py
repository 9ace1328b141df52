"""Views at the HTTP door: strict questions, positions that have happened, pages, answers that need not travel twice."""

from __future__ import annotations

import pytest
from door import door, run

from gateways.http.views import lists_of, matches, read_query
from projections.reading import PageQuery, Query
from services.registry import REGISTRY


def test_a_view_answers_what_was_counted_and_says_up_to_where() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.forks(3)
            answer = await here.client.get("/api/pov/worlds?project=demo&min_position=3")
            assert answer.status_code == 200, answer.text
            assert [one["id"] for one in answer.json()["items"]] == ["main", "w0000", "w0001", "w0002"]
            assert int(answer.headers["x-comfyvn-position"]) >= 3
            assert (await here.client.head("/api/pov/worlds?project=demo")).text == ""
            missing = await here.client.get("/api/pov/worlds/nothing?project=demo")
            assert (missing.status_code, missing.json()["error"]) == (404, "unknown_worldline")

    run(scenario)


def test_a_list_is_read_page_by_page() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.forks(7)
            found, cursor = [], ""
            while True:
                page = await here.client.get("/api/pov/worlds", params={
                    "project": "demo", "limit": 2, "cursor": cursor, "min_position": 7,
                })
                found += [one["id"] for one in page.json()["items"]]
                cursor = page.json()["next"]
                if cursor is None:
                    break
            assert found == ["main", *(f"w{number:04}" for number in range(7))]
            wrong = await here.client.get("/api/pov/worlds?cursor=nonsense")
            assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_cursor")

    run(scenario)


@pytest.mark.parametrize(("query", "path"), [
    ("limit=0", "limit"), ("limit=501", "limit"), ("limit=many", "limit"), ("limit=", "limit"),
    ("limit=1&limit=2", "limit"),
    ("colour=red", "colour"), ("project=a%20b", "project"), ("min_position=-1", "min_position"),
    ("min_position=1e99", "min_position"), ("cursor=" + "x" * 2001, "cursor"),
])
def test_a_question_that_does_not_fit_names_the_parameter(query: str, path: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            answer = await here.client.get(f"/api/pov/worlds?{query}")
            assert answer.status_code == 422, answer.text
            assert answer.json()["error"] == "invalid_parameters"
            assert answer.json()["detail"]["fields"][0]["path"] == path

    run(scenario)


def test_a_path_parameter_must_be_a_name_and_cannot_be_asked_for_twice() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for address in ("/api/pov/worlds/not%20good", "/api/pov/worlds/night?worldline_id=day"):
                answer = await here.client.get(address)
                assert (answer.status_code, answer.json()["error"]) == (422, "invalid_parameters")

    run(scenario)


def test_a_position_that_has_not_happened_is_refused_at_once() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.fork("night", status=201)
            for name in ("min_position", "as_of"):
                answer = await here.client.get(f"/api/timeline?project=demo&{name}=99")
                assert (answer.status_code, answer.json()["error"]) == (400, "position_in_future"), answer.text
                assert answer.json()["detail"] == {"position": 99, "head": 1}

    run(scenario)


def test_a_read_side_that_does_not_count_is_unavailable_after_a_bounded_wait() -> None:
    async def scenario() -> None:
        async with door(projecting=False, wait_seconds=0.05) as here:
            for name, projection in REGISTRY.projections.items():
                here.studio.models.create(name, projection.version, projection.tables)
            await here.fork("night", status=201)
            answer = await here.client.get("/api/pov/worlds?project=demo&min_position=1")
            assert (answer.status_code, answer.json()["error"]) == (503, "read_side_behind")
            assert answer.headers["retry-after"] == "1"

    run(scenario)


def test_an_answer_with_a_version_need_not_travel_twice() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.fork("night", status=201)
            address = "/api/pov/worlds/night?project=demo&min_position=1"
            first = await here.client.get(address)
            tag = first.headers["etag"]
            assert tag.startswith('"1-')
            again = await here.client.get(address, headers={"If-None-Match": f'"x", W/{tag}'})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            await here.ask("UpdateWorldline", {"worldline_id": "night", "notes": "darker"}, status=200)
            changed = await here.client.get(f"{address[:-1]}2", headers={"If-None-Match": tag})
            assert (changed.status_code, changed.json()["notes"]) == (200, "darker")

    run(scenario)


def test_tags_are_compared_weakly() -> None:
    assert matches('W/"1-a"', '"1-a"')
    assert matches("*", '"1-a"')
    assert not matches('"2-a"', '"1-a"')
    assert not matches(None, '"1-a"')


class Several(PageQuery):
    """A question with a parameter that may come several times."""

    tag: tuple[str, ...] | None = None
    flag: bool = False


def test_a_parameter_that_is_a_list_may_come_several_times() -> None:
    assert lists_of(Several) == {"tag"}
    given = (("tag", "a"), ("tag", "b"), ("flag", "true"))
    asked = read_query(Several, lists_of(Several), given, {})
    assert asked == Several(tag=("a", "b"), flag=True)


def test_every_view_of_the_registry_has_a_door_that_refuses_unknown_parameters() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for view in REGISTRY.views.values():
                assert issubclass(view.query, Query)
                path = "/".join("x" if part.startswith("{") else part for part in view.path.split("/"))
                answer = await here.client.get(f"{path}?not_a_parameter=1")
                assert answer.status_code == 422, f"{view.name}: {answer.text}"
                assert answer.json()["detail"]["fields"][0]["path"] == "not_a_parameter"

    run(scenario)
