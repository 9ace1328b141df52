"""A playtest as one page: nothing in it comes from elsewhere, and nothing of the story is taken for a tag or a script.

The page brings its own policy: only the style and the script that stand in it, by their hashes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final

from domain.story.play import At, Story, advanced, begun, coming, follow, ways
from domain.story.playtest.survey import Survey, node_of, survey
from services.playtest.drawing import Picture, picture

TEXT_SHOWN: Final = 400
"""Most letters of a node's text that the page holds."""

ROUTES: Final = 400
"""Most ways that can be shown in the graph."""


@cache
def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "'sha256-" + b64encode(sha256(text.encode()).digest()).decode() + "'"


def policy() -> str:
    """What a browser may load and run for the page; the same for every page of this release."""
    return (f"default-src 'none'; style-src {_hash(_part('page.css'))}; script-src {_hash(_part('page.js'))}; "
            "img-src data:; base-uri 'none'; form-action 'none'")


def page(story: Story, report: Mapping[str, Any]) -> str:
    """The page of a report that holds its tables."""
    told = survey(story)
    drawn = picture(story, told)
    about = report["story"]
    title = str(about.get("timeline") or about["id"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy())}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>Playtest of {escape(title)}</title><style>{_part('page.css')}</style></head><body>"
        f"{_head(report, title)}<main><div class=tabs id=povs></div><div class=tiles id=tiles></div>"
        f"{_comparison(report)}{_graph(drawn)}{_lists()}</main>"
        f"<footer>ComfyVN playtest · {escape(report['digest'])}</footer>"
        f'<script type="application/json" id="data">{_data(story, told, report)}</script>'
        f"<script>{_part('page.js')}</script></body></html>"
    )


def _head(report: Mapping[str, Any], title: str) -> str:
    about, timing = report["story"], report.get("timing") or {}
    if report["mode"] == "random":
        badge = '<span class="badge plain">random plays</span>'
    elif report["complete"]:
        badge = '<span class="badge whole">every path played</span>'
    else:
        badge = '<span class="badge part">bounded</span>'
    where = [f"worldline <b>{escape(str(about['worldline']))}</b>"] if about.get("worldline") else []
    where += [f"as of position <b>{about['position']}</b>"] if about.get("position") else []
    kinds = ("scenes", "nodes", "choices", "conditions", "words")
    where += [", ".join(f"<b>{about[kind]:,}</b> {kind}" for kind in kinds),
              f"read at {report['config']['words_per_minute']} words a minute"]
    if timing:
        where.append(f"{timing['per_second'] or 0:,} {timing['of']}/s in {timing['seconds']} s")
    return (f"<header><h1>{escape(title)}<small>playtest</small>{badge}</h1>"
            f'<p class="facts">{" · ".join(where)}</p><p class="facts" id="bound"></p>'
            "<noscript><p>The figures and tables of this page need its script; the JSON report has them all.</p>"
            "</noscript></header>")


def _comparison(report: Mapping[str, Any]) -> str:
    compared = report.get("comparison")
    if not compared:
        return ""
    before = compared["before"]
    name = str(before.get("worldline") or before["id"])
    name += f" at {before['position']}" if before.get("position") else ""
    return (f'<section><h2>Beside {escape(name)}<small>what changed for the endings, and why</small></h2>'
            '<ul class="findings" id="comparison"></ul></section>')


def _graph(drawn: Picture) -> str:
    return (
        '<section><div class="tools"><h2>The story</h2><button id="in" aria-label="closer">+</button>'
        '<button id="out" aria-label="farther">−</button><button id="fit">all of it</button>'
        '<input id="find" type="search" placeholder="find a node…" aria-label="find a node">'
        '<div class="key"><span class="k1">met</span><span class="k4">ending</span><span class="k5">dead end</span>'
        '<span class="k2">never met</span><span class="k3">no way there, or for others</span></div></div>'
        f'<div class="stage"><svg id="graph" role="img" aria-label="graph of the story" '
        f'viewBox="-20 -20 {drawn.width + 40:.0f} {drawn.height + 40:.0f}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0.6L8 4L0 7.4z"/></marker></defs>'
        f'<g id="view">{drawn.content}</g></svg>'
        '<aside id="panel"><p class="dim">Choose a node to see what is said there and where it leads. '
        "Drag to move, turn the wheel to come closer; an ending shows the way to it.</p></aside></div></section>"
    )


def _lists() -> str:
    parts = ['<section><h2>Findings<small id="found"></small></h2><ul class="findings" id="findings"></ul></section>']
    for id_, title, note in (
        ("endings", "Endings", "every place where a play can end, and a way there"),
        ("nodes", "Nodes", ""), ("choices", "Choices", ""), ("conditions", "Conditions", "how often each side was met"),
        ("variables", "Variables", "of the whole story"),
    ):
        small = f"<small>{note}</small>" if note else ""
        parts.append(f'<section><h2>{title}{small}</h2><div id="{id_}"></div></section>')
    return "".join(parts)


def _data(story: Story, told: Survey, report: Mapping[str, Any]) -> str:
    router = _Router(story, told, report)
    data = {
        "mode": report["mode"],
        "places": [_place(story, told, number) for number in range(len(told.places))],
        "ways": [_way(story, told, number) for number in range(len(told.ways))],
        "rules": [["/".join(rule.where), _rule(rule.document)] for rule in told.rules],
        "views": [_view(view, router) for view in report["views"]],
        "findings": [
            {**one, "path": router.told(one["path"], one.get("pov"))} if one.get("path") else one
            for one in report["findings"]
        ],
        "variables": [{name: one[name] for name in ("key", "declared", "reads", "writes", "status")}
                      for one in report["variables"]],
        "comparison": report.get("comparison"),
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
    # Inside a script element the only danger is its end, or a comment: neither can begin without this sign.
    return text.replace("<", "\\u003c")


def _place(story: Story, told: Survey, number: int) -> list[Any]:
    place = told.places[number]
    document = node_of(story, place).document
    return [place.scene, place.node, str(document.get("speaker", "")), str(document.get("text", ""))[:TEXT_SHOWN],
            place.words]


def _way(story: Story, told: Survey, number: int) -> list[Any]:
    way = told.ways[number]
    place = told.places[way.place]
    choice = node_of(story, place).choices[way.order]
    return [way.place, choice.id, choice.label[:200], told.place_of[place.scene, choice.target]]


def _rule(rule: Mapping[str, Any]) -> str:
    signs = {"eq": "=", "neq": "≠", "gt": ">", "gte": "≥", "lt": "<", "lte": "≤", "not_in": "not in",
             "not_exists": "is not there", "exists": "is there"}
    value = json.dumps(rule["value"], ensure_ascii=False)[:80] if "value" in rule else ""
    return f"{rule['key']} {signs.get(rule['operator'], rule['operator'])} {value}".strip()


def _view(view: Mapping[str, Any], router: _Router) -> dict[str, Any]:
    kept = ("pov", "playable", "complete", "bounds_reached", "states", "transitions", "frontier", "plays", "finished",
            "steps", "variables_in_state", "coverage", "lengths")
    return {
        **{name: view[name] for name in kept if name in view},
        "hits": [row["hits"] for row in view["nodes"]], "node_status": [row["status"] for row in view["nodes"]],
        "offered": [row["offered"] for row in view["choices"]], "taken": [row["taken"] for row in view["choices"]],
        "way_status": [row["status"] for row in view["choices"]],
        "rules": [[row["true"], row["false"], row["missing"], row["status"]] for row in view["conditions"]],
        "endings": [{**one, "path": router.told(one["path"], view["pov"])} for one in view["endings"]],
    }


class _Router:
    """Ways as nodes and choices of the drawing."""

    def __init__(self, story: Story, told: Survey, report: Mapping[str, Any]) -> None:
        self.story, self.survey, self.left = story, told, ROUTES
        self.variables = report["config"]["variables"]

    def told(self, path: Mapping[str, Any] | None, pov: str | None) -> dict[str, Any] | None:
        """A way with ``route``: the numbers of its places and of its choices, each once."""
        if path is None:
            return None
        if path.get("choices") is None or pov is None or self.left <= 0:
            return dict(path)
        self.left -= 1
        places: dict[int, None] = {}
        taken: dict[int, None] = {}
        at: At = begun(self.story, pov=pov, variables=self.variables)
        decisions = list(path["choices"])
        for _ in range(path["steps"] + 1):
            place = self.survey.place_of[at.scene, at.node]
            places[place] = None
            next_ = coming(self.story, at)
            if len(places) > 5_000 or next_ == "finished":
                break
            if next_ in ("ask", "chance"):
                if not decisions:
                    break
                wanted = decisions.pop(0)["index"]
                choice = next((one for one in ways(self.story, at) if one.index == wanted), None)
                if choice is None:
                    break
                at = follow(self.story, at, choice)
            else:
                at, choice = advanced(self.story, at)
            if choice is not None:
                taken[self.survey.first_way[place] + choice.index] = None
        return {**path, "route": [list(places), list(taken)]}
