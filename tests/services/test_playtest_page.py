"""The page of a playtest: whole in itself, and deaf to whatever a story has written into it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from branching_contents import contents
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.story.play import story
from domain.story.playtest.asking import Wanted
from domain.story.playtest.reporting import playtested
from services.playtest.layout import HEIGHT, WIDTH, layout
from services.playtest.page import page, policy

EVIL = [
    "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!--<script>", "&lt;b&gt;",
    "'\"\u2028\u202e]]>",
]


class Seen(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data


def drawn(content: dict[str, Any]) -> tuple[str, Seen]:
    made = story(content)
    text = page(made, playtested(made, Wanted()))
    seen = Seen()
    seen.feed(text)
    return text, seen


def one_scene(nodes: list[dict[str, Any]], id_: str = "s", **more: Any) -> dict[str, Any]:
    return {"id": "t", "entries": [{"id": "e", "scene": id_}], "variables": {}, **more,
            "scenes": {id_: {"id": id_, "start": nodes[0]["id"], "nodes": nodes, "title": EVIL[0]}}}


def test_hostile_text_stays_text() -> None:
    nodes = [{"id": evil, "speaker": evil, "text": evil, "choices": [{"id": evil, "label": evil, "target": EVIL[0]}]}
             for evil in EVIL]
    content = one_scene(nodes, default_pov=EVIL[1], worldline=EVIL[0])
    text, seen = drawn(content)
    assert len(seen.scripts) == 2, "the data and the one script"
    assert {tag for tag, _ in seen.elements} & {"img", "iframe", "link", "object", "base", "form"} == set()
    assert not [name for _, given in seen.elements for name in given if name.startswith("on") or name == "style"]
    held = json.loads(seen.scripts[0])
    assert [place[3] for place in held["places"]] == EVIL
    assert "alert(1)</script>" not in text


def test_nothing_comes_from_elsewhere_and_the_policy_fits() -> None:
    text, seen = drawn(one_scene([{"id": "a", "text": "A.", "end": True}]))
    assert not re.search(r"(?:src|href|action)=", text.split('<script type="application/json"')[0])
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()
    assert dict(seen.elements)["svg"]


@settings(max_examples=40, deadline=None)
@given(contents())
def test_any_story_has_a_page_with_all_its_nodes(content: dict[str, Any]) -> None:
    made = story(content)
    report = playtested(made, Wanted())
    text = page(made, report)
    assert len(re.findall(r'class="n m-', text)) == report["story"]["nodes"]
    assert len(re.findall(r"<path class=\"e\"", text)) == report["story"]["choices"]


graphs = st.integers(1, 40).flatmap(lambda count: st.tuples(
    st.just(count), st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=80)))


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_no_two_nodes_stand_on_each_other(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    found = layout(count, edges, 0)
    assert len(found.corners) == count
    assert len(found.bends) == len(edges)
    for number, one in enumerate(found.corners):
        assert -0.01 <= one.x <= found.width - WIDTH + 0.01
        assert -0.01 <= one.y <= found.height - HEIGHT + 0.01
        for other in found.corners[:number]:
            assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT


def test_a_long_chain_is_folded() -> None:
    found = layout(2_000, [(one, one + 1) for one in range(1_999)], 0)
    assert found.width < 3 * found.height
    assert found.height < 3 * found.width
