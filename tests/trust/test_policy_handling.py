"""Handlings: what a project says of prompts and of metadata that leaks; the careful one wins, whatever the order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, given
from hypothesis import given as drawn
from hypothesis import strategies as st
from projected import Projected
from pydantic import ValidationError

from adapters.memory.log import MemoryLog
from commands.trust.policy import EvaluatePolicy, RemovePolicyHandling, SetPolicyHandling
from domain.errors import Invalid, NotFound, Refused
from domain.trust.policy import PolicyDecided, PolicyHandlingRemoved, PolicyHandlingSet
from domain.trust.policy_handling import DEFAULTS, HANDLING_LIMIT, Handling, Ruled, ruled
from domain.trust.policy_rules import Condition, Thing
from services.dispatcher import Dispatcher
from services.registry import REGISTRY


def handling(id_: str = "clean", **changes: Any) -> Handling:
    known: dict[str, Any] = {"handling_id": id_, "what": "metadata", "actions": ("download", "export"), "then": "strip"}
    return Handling.model_validate(known | changes)


def setting(one: Handling) -> SetPolicyHandling:
    return SetPolicyHandling.model_validate(one.model_dump())


ADULT = Condition(fact="nsfw", op="is", values=(True,))


def test_a_handling_is_set_changed_and_taken_away() -> None:
    clean = PolicyHandlingSet(handling=handling())
    given().when(setting(handling())).then(clean).and_again_nothing()
    other = handling(then="keep", when=(ADULT,))
    given(clean).when(setting(other)).then(PolicyHandlingSet(handling=other))
    gone = PolicyHandlingRemoved(handling_id="clean")
    given(clean).when(RemovePolicyHandling(handling_id="clean")).then(gone)
    given(clean, gone).when(RemovePolicyHandling(handling_id="clean")).then_refused("unknown_handling", NotFound)


def test_a_fact_that_nobody_will_know_is_refused_by_name() -> None:
    wrong = handling(when=(Condition(fact="nsfv", op="is", values=(True,)),))
    refused = given().when(setting(wrong)).then_refused("unknown_fact", Invalid)
    assert refused.remediation[0].text == "Did you mean nsfw instead of nsfv?"


def test_handlings_have_a_number() -> None:
    many = [PolicyHandlingSet(handling=handling(f"h{n}")) for n in range(HANDLING_LIMIT)]
    given(*many).when(setting(handling("more"))).then_refused("too_many", Refused)
    changed = handling("h3", then="keep")
    given(*many).when(setting(changed)).then(PolicyHandlingSet(handling=changed))


@pytest.mark.parametrize("wrong", [
    {"what": "pixels"}, {"then": "maybe"}, {"actions": ()}, {"actions": ("import",)}, {"actions": ("download.",)},
    {"actions": ("downloads",)}, {"handling_id": "a b"}, {"when": (ADULT,) * 21}, {"reason": "x" * 501},
])
def test_what_is_no_handling_is_refused_by_name(wrong: dict[str, Any]) -> None:
    said = handling().model_dump() | wrong
    with pytest.raises(ValidationError) as caught:
        SetPolicyHandling.model_validate(said)
    assert {one["loc"][0] for one in caught.value.errors()} == set(wrong)


def test_where_a_project_says_nothing_the_default_holds_or_what_stands_in_for_it() -> None:
    assert ruled([], "prompt", "generate.image", {}) == Ruled("strip", ())
    assert ruled([], "metadata", "download", {}) == Ruled("keep", ())
    assert ruled([], "metadata", "download", {}, "strip") == Ruled("strip", ())
    assert ruled([handling(then="keep")], "metadata", "download", {}, "strip") == Ruled("keep", ("clean",))


def test_actions_conditions_and_what_it_is_about_narrow_a_handling() -> None:
    adult = handling(when=(ADULT,))
    assert ruled([adult], "metadata", "export.renpy", {"nsfw": True}).strips
    assert not ruled([adult], "metadata", "export.renpy", {"nsfw": False}).by
    assert not ruled([adult], "metadata", "export.renpy", {}).by, "what is not known holds for no condition"
    assert not ruled([adult], "metadata", "generate.image", {"nsfw": True}).by
    assert not ruled([adult], "prompt", "download", {"nsfw": True}).by


FACTS = st.fixed_dictionaries({}, optional={"nsfw": st.booleans(), "kind": st.sampled_from(["image", "video"])})
HANDLINGS = st.lists(st.builds(
    handling, st.sampled_from("abcdef"), what=st.sampled_from(["prompt", "metadata"]),
    then=st.sampled_from(["keep", "strip"]), actions=st.sampled_from([("download",), ("export",), ("generate.image",)]),
    when=st.sampled_from([(), (ADULT,), (Condition(fact="kind", op="is_not", values=("video",)),)]),
), max_size=6, unique_by=lambda one: one.handling_id)


@drawn(HANDLINGS, FACTS, st.sampled_from(["download", "export.renpy", "generate.image"]), st.randoms())
def test_what_one_strips_is_stripped_and_order_says_nothing(
    handlings: list[Handling], facts: dict[str, Any], action: str, chance: Any
) -> None:
    found = ruled(handlings, "metadata", action, facts)
    shuffled = list(handlings)
    chance.shuffle(shuffled)
    assert ruled(shuffled, "metadata", action, facts) == found
    more = ruled([*handlings, handling("z", actions=(action,))], "metadata", action, facts)
    assert more.strips
    assert "z" in more.by
    assert found.then == (DEFAULTS["metadata"] if not found.by else found.then)
    assert set(found.by) <= {one.handling_id for one in handlings if one.then == found.then}


def test_a_decision_names_the_handlings_that_hold() -> None:
    clean, adult = PolicyHandlingSet(handling=handling()), PolicyHandlingSet(handling=handling("adult", when=(ADULT,)))
    question = EvaluatePolicy(action="export.renpy", parts=(Thing(kind="asset", id="a", facts={"nsfw": True}),))
    for asked, named in ((question, ("adult", "clean")), (question.model_copy(update={"parts": ()}), ("clean",))):
        log = MemoryLog()
        dispatcher = Dispatcher(log, REGISTRY)

        async def scenario(dispatcher: Dispatcher = dispatcher, asked: Any = asked) -> None:
            for one in (clean, adult):
                await dispatcher.ask(setting(one.handling), ASKED._replace(command_id=one.handling.handling_id))
            await dispatcher.ask(asked, ASKED._replace(command_id="question"))

        asyncio.run(scenario())
        decided = REGISTRY.decode(log.events[-1])
        assert isinstance(decided, PolicyDecided)
        assert decided.handlings == named


def test_handlings_are_seen(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher = Dispatcher(log, REGISTRY)
        for number, command in enumerate((
            setting(handling("b")), setting(handling("a", what="prompt", then="keep", actions=("generate",))),
            setting(handling("c")), RemovePolicyHandling(handling_id="c"),
        )):
            await dispatcher.ask(command, ASKED._replace(command_id=f"c{number}"))

    asyncio.run(scenario())
    seen = Projected(tmp_path, ["policy"])
    seen.count(log.events)
    told = seen.see("ListPolicyHandlings")
    assert [(one["handling_id"], one["what"], one["then"]) for one in told["items"]] == [
        ("a", "prompt", "keep"), ("b", "metadata", "strip"),
    ]
    assert told["defaults"] == {"prompt": "strip", "metadata": "keep"}
