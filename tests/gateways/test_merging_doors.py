"""Comparing and merging at the HTTP door: old bodies, previews that change nothing, conflicts as objects, one view."""

from __future__ import annotations

from typing import Any

import pytest
from door import Door, door, run

from projections.boards.differing import BRANCHING
from services.merging.working import categories_of


def node(name: str, *targets: str, **more: Any) -> dict[str, Any]:
    choices = [{"id": f"to-{one}", "target": one, "label": one} for one in targets]
    return {"id": name, "text": f"{name}.", "choices": choices, **more}


async def post(found: Door, path: str, body: Any, status: int = 200, **headers: str) -> Any:
    answer = await found.client.post(path, params={"project": "demo"}, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def edit(found: Door, line: str, scene: str, name: str, **fields: Any) -> None:
    await found.ask("EditNode", {"scene_id": scene, "node_id": name, **fields}, status=200, params={"worldline": line})


async def told(found: Door) -> None:
    """Two scenes that a timeline orders against the alphabet, and a branch."""
    for name in ("zebra", "apple"):
        await found.ask("CreateScene", {"id": name, "start": "n2", "nodes": [node("n2", "n1"), node("n1", end=True)]},
                        status=201)
    await found.ask("CreateTimeline", {"id": "main", "entries": [{"scene": "zebra"}, {"scene": "apple"}]}, status=201)
    await found.fork("w", status=201)


def test_a_diff_follows_the_story_and_not_the_alphabet() -> None:
    async def scenario() -> None:
        async with door() as found:
            await told(found)
            for scene in ("apple", "zebra"):
                await edit(found, "w", scene, "n1", text="Otherwise.")
            answer = await post(found, "/api/diffmerge/scene", {"source": "main", "target": "w"})
            assert answer["timeline"] == ["zebra/n2", "zebra/n1", "apple/n2", "apple/n1"]
            assert answer["node_changes"]["changed"] == ["zebra/n1", "apple/n1"]
            assert answer["node_details"]["zebra/n1"]["after"]["text"] == "Otherwise."
            graph = await post(found, "/api/diffmerge/worldlines/graph", {})
            assert graph["timeline"]["main"] == ["zebra/n2", "zebra/n1", "apple/n2", "apple/n1"]
            assert [edge["source"] for edge in graph["graph"]["edges"] if edge["world"] == "w"] == [
                "zebra/n2", "zebra/n1", "apple/n2"]
            (main, other) = graph["worlds"]
            assert (main["overlap"], main["divergence"]) == (4, 0)
            assert (other["overlap"], other["divergence"], other["node_count"]) == (2, 2, 4)
            assert graph["fast_forward"]["w"]["fast_forward"] is True
            shown = await found.client.get("/api/diffmerge/worldlines/graph", params={"project": "demo"})
            assert shown.json() == graph

    run(scenario)


def test_two_positions_of_one_worldline_are_compared() -> None:
    async def scenario() -> None:
        async with door() as found:
            await told(found)
            before = await found.studio.log.head()
            await edit(found, "main", "zebra", "n1", text="Later.")
            answer = await post(found, "/api/pov/diff", {"source_at": before})
            (document,) = answer["documents"]
            assert [(one["path"], one["before"], one["after"]) for one in document["changes"]] == [
                (["nodes", "n1", "text"], "n1.", "Later.")]
            assert (await post(found, "/api/pov/diff", {}))["same"] is True
            await post(found, "/api/pov/diff", {"source_at": 10**6}, 400)

    run(scenario)


def test_both_sides_are_seen_by_one_point_of_view() -> None:
    async def scenario() -> None:
        async with door() as found:
            await told(found)
            secret = {**node("n2", "n1")["choices"][0], "visible_to": ["mira"], "label": "Secret"}
            await edit(found, "w", "zebra", "n2", choices=[secret, {"id": "plain", "target": "n1"}])
            body = {"source": "main", "target": "w"}
            everything = await post(found, "/api/pov/diff", body)
            mira = await post(found, "/api/pov/diff", {**body, "pov": "mira"})
            tom = await post(found, "/api/pov/diff", {**body, "mask_pov": "tom"})
            assert everything["choices"] == mira["choices"]
            assert (mira["pov"], tom["pov"], tom["masked"]) == ("mira", "tom", True)
            assert "Secret" not in str(tom)
            assert tom["choices"]["b"] == {"zebra/n2": ["plain"]}
            # Worldlines with points of view of their own do not differ by that alone.
            await found.ask("UpdateWorldline", {"worldline_id": "w", "pov": "mira"}, status=200)
            assert (await post(found, "/api/pov/diff", {**body, "scene": "apple", "mask_pov": True}))["same"] is True

    run(scenario)


@pytest.mark.parametrize("path", ["/api/pov/merge", "/api/diffmerge/worldlines/merge"])
def test_a_preview_never_applies(path: str) -> None:
    async def scenario() -> None:
        async with door() as found:
            await told(found)
            await edit(found, "w", "zebra", "n1", text="Theirs.")
            head = await found.studio.log.head()
            shown = await post(found, path, {"source": "w", "target": "main", "apply": False})
            assert (shown["applied"], shown["target_preview"]["nodes"]["changed"]) == (False, ["zebra/n1"])
            answer = await found.client.post(path, params={"project": "demo", "dry_run": "true"}, json={"source": "w"})
            assert answer.json()["applied"] is False
            assert await found.studio.log.head() == head
            assert (await post(found, path, {"source": "w", "target": "main"}))["applied"] is True

    run(scenario)


def test_conflicts_are_objects_and_are_decided_by_id_or_in_a_list() -> None:
    async def scenario() -> None:
        async with door() as found:
            await told(found)
            for line, text in (("w", "Theirs."), ("main", "Ours.")):
                for name in ("n1", "n2"):
                    await edit(found, line, "zebra", name, text=text)
            refused = await post(found, "/api/pov/merge", {"source": "w"}, 409)
            one, two = refused["detail"]["conflicts"]
            assert (one["ours"], one["theirs"], one["kind"]) == ("Ours.", "Theirs.", "both_changed")
            left = await post(found, "/api/pov/merge", {"source": "w", "resolutions": {one["id"]: "theirs"}}, 409)
            assert [each["id"] for each in left["detail"]["conflicts"]] == [two["id"]]
            done = await post(found, "/api/pov/merge", {"source": "w", "resolutions": [
                {"conflict": one["id"], "take": "theirs"}, {"conflict": two["address"], "value": "Both."},
            ]}, **{"idempotency-key": "k"})
            assert len(done["resolutions"]) == 2
            again = await found.client.post("/api/pov/merge", params={"project": "demo"}, headers={
                "idempotency-key": "k"}, json={"source": "w", "resolutions": [
                    {"conflict": one["id"], "take": "theirs"}, {"conflict": two["address"], "value": "Both."}]})
            assert again.headers["idempotency-replayed"] == "true"
            assert again.json() == {**done, "repeated": True}
            merges = await found.client.get("/api/pov/worlds/main/merges", params={"project": "demo"})
            assert [each["source"] for each in merges.json()["items"]] == ["w"]

    run(scenario)


@pytest.mark.parametrize(("body", "status"), [
    ({"source": "w", "rule": "mine"}, 422), ({"source": "w", "resolutions": {"x": "perhaps"}}, 422),
    ({"source": "w", "resolutions": [{"take": "ours"}]}, 422), ({"source": "w", "apply": "no"}, 422),
    ({"source": "w", "only": ["job/x"]}, 400), ({"target": "w"}, 422), ({"source": "w", "unheard": 1}, 422),
    ({"source": "w", "target": "w"}, 400), ({"source": "gone"}, 404), ({"source": "../w"}, 422),
    ({"source": "w", "resolutions": {f"c{number}": "ours" for number in range(1001)}}, 422),
])
def test_bad_bodies_are_answered_and_change_nothing(body: Any, status: int) -> None:
    async def scenario() -> None:
        async with door() as found:
            await told(found)
            await edit(found, "w", "zebra", "n1", text="Theirs.")
            head = await found.studio.log.head()
            answer = await post(found, "/api/pov/merge", body, status)
            assert answer["remediation"]
            assert await found.studio.log.head() == head

    run(scenario)


def test_endings_that_vanish_are_told_before_and_recorded_after() -> None:
    async def scenario() -> None:
        async with door() as found:
            nodes = [node("a", "b", "c"), node("b", end=True), node("c", end=True)]
            await found.ask("CreateScene", {"id": "s", "start": "a", "nodes": nodes}, status=201)
            await found.fork("w", status=201)
            await edit(found, "w", "s", "a", choices=[{"id": "to-b", "target": "b", "label": "b"}])
            shown = await post(found, "/api/pov/merge", {"source": "w", "apply": False})
            (view,) = shown["story"]["views"]
            assert (view["vanished"], view["appeared"], view["complete"]) == (["s/c"], [], True)
            done = await post(found, "/api/pov/merge", {"source": "w"})
            assert done["story"]["digest"] == shown["story"]["digest"]

    run(scenario)


def test_everything_that_branches_can_be_compared() -> None:
    async def scenario() -> None:
        async with door() as found:
            assert categories_of(found.studio) == BRANCHING

    run(scenario)
