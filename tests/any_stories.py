"""Random valid stories from a seed.

Whole content for ``play.story``, as hostile as the schema allows, and small enough for every path to be played.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.any_directives import any_directives

Json = Any

POVS = ("narrator", "ann", "Ben's \"view\"", "第三者")

PATHS = (
    "flag", "score", "name", "party", "party.gold", "party.members", "party.deep.er", "deep.a.b.c", "if", "class",
    "renpy", "store", "two words", "ünder", "x[0]", "__init__", "%s", "0", "0.1", "\"quoted\"", "it's", "{tag}",
    "back\\slash", "_", "🎲", "None", "flag.inner", "items.keys", "Flag", "self", "a" * 60,
)
"""Where variables stand: words of Python, of the engine and of no language, and paths through what may be no object."""

NODE_IDS = (
    "start", "main_menu", "before_main_menu", "quit", "after_load", "splashscreen", "label", "menu", "jump",
    "a.b", "a b",
    "a_b", "a-b", "A_B", "日本", "ß", "ss", "é", "e\u0301", "🎲", "1", "01", "_x", "__x", "[x]", "%", "it's",
    "\"", "\\",
    "a/b", "../x", "x:", "#", "$x", "{b}", "end", "return", "None", "x" * 128, "نص", "a\u2028b", "\u200b", "«»",
)

SCENE_IDS = (
    "opening", "start", "Start", "main_menu", "a-b", "a_b", "None", "1", "01", "_", "__", "quit", "if",
    "scene", "X" * 96,
    "before_main_menu", "battle_one", "store",
)

SPEAKERS = (
    "", "", "ann", "ben", "narrator", "Ann", "O'Hara", "\"Q\"", "[name]", "{b}Bold{/b}", "100%", "%(x)s", "back\\slash",
    "年", "عربي", "🙂", "two\nlines", " padded ", "centered", "extend", "nvl", "e", "a" * 200, "#", "None",
    "renpy", "\t",
)

TEXTS = (
    "", "Hello.", "It rains.", "[name]", "[[name]", "[broken", "]", "{b}bold{/b}", "{{", "{", "}", "{w}{p}{nw}{fast}",
    "{image=x.png}", "100% sure", "%(name)s %s %%", "She said \"no\".", "it's 'fine'", "back\\slash \\n \\\"",
    "ends with \\", "first\nsecond", "first\n\n\nthird", "\n", "\r\n", "\ttab\t", " ", "  lead", "trail  ", "a  b   c",
    "nbsp\u00a0here", "שלום עולם", "مرحبا (100%)", "abc אבג 123", "\u202eturned\u202c", "🙂🎲👩‍👩‍👧",
    "日本語のテキスト、です。", "e\u0301 é",
    "$ python = 1", "# no comment", "label start:", "jump start", "\"\"\"", "'''", "r\"raw\"", "_(\"x\")",
    "{#disambiguated}",
    "[x!q]", "[1/0]", "[renpy.quit()]", "{a=jump:start}link{/a}", "\u2028\u2029", "\ufeff", "\u200b", "<b>&amp;</b>",
    "x" * 300, "{size=+10}", "[", "{/b}", "%", "\\", "\"", "~`!@#^&*()_+-=", "null\u0001char", "{vspace=10}",
    "[name!t]",
)

NUMBERS = (
    0, 1, -1, 2, 3, 5, 10, 0.0, -0.0, 0.5, 1.0, 1.5, -2.25, 0.1, 0.30000000000000004, 1e16, 1e-7, 1e300,
    1.7e308, 5e-324,
    2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63),
)

VALUES: tuple[Json, ...] = (
    *NUMBERS[:14], *NUMBERS, True, False, None, True, False, "", "yes", "Yes", "1", " 2 ", "1.0", "1e3",
    "0x10", "１", "nan",
    "inf", "true", "[name]", "{b}", "100%", "\"", "\\", "\n", "🙂", "שלום", [], {}, [1, 2], ["a", ["b"]], {"gold": 3},
    {"inner": {"x": 1}}, {"": 1, "a.b": 2}, [None], {"deep": {"er": "found"}, "gold": "7"},
)

WEIGHTS = (0, 1, 1, 1, 2, 3, 0.5, 0.25, 0.1, 0.2, 0.7, 1e-300, 5e-324, 1e300, 1.7e308, 2**53 + 1, 10**18)

TYPES = ("dialogue",) * 6 + ("choice", "menu", "chance", "random", "narration", "Type: weird \"x\"")

OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "not_in", "exists", "not_exists")


def any_story(seed: int, *, assets: Sequence[str] = (), scenes: int = 4, nodes: int = 7) -> dict[str, Json]:
    """The content of one story, the same for the same seed: at most so many scenes of at most so many nodes.

    ``assets`` are references that exist; directives name them as well as some that do not.
    """
    return story_from(Random(f"story {seed}"), f"story-{seed}", seed, assets=assets, scenes=scenes, nodes=nodes)


def any_stories(*, assets: Sequence[str] = (), scenes: int = 3, nodes: int = 6) -> st.SearchStrategy[dict[str, Json]]:
    """The same stories for hypothesis, which makes a failing one smaller."""
    return st.randoms(use_true_random=False).map(
        lambda random: story_from(random, "any", random.randrange(2**32), assets=assets, scenes=scenes, nodes=nodes)
    )


def story_from(
    random: Random, id_: str, seed: int, *, assets: Sequence[str] = (), scenes: int = 4, nodes: int = 7
) -> dict[str, Json]:
    """The content of one story from a source of randomness."""
    names = random.sample(SCENE_IDS, random.randint(1, scenes))
    # A few paths for the whole story, so that what one place changes is what another asks about.
    paths = random.sample(PATHS, random.randint(2, 7))
    povs = random.sample(POVS, random.randint(1, len(POVS)))
    making = _Making(random, paths, povs, tuple(assets))
    content: dict[str, Json] = {
        "id": id_, "timeline": id_, "position": 1, "worldline": "main",
        "entries": making.entries(names),
        "scenes": {name: making.scene(name, nodes) for name in names},
        "variables": making.tree(random.randint(0, 4)),
        "characters": making.characters(),
    }
    if making.likely(0.5):
        content["default_pov"] = random.choice(povs)
    if making.likely(0.7):
        content["seed"] = random.choice((0, 1, seed, 2**32 - 1, 2**32, -5, 2**63 - 1))
    return content


def povs_of(content: dict[str, Json]) -> list[str]:
    """Every point of view that a story names, and none other: who plays tries each, since each sees other choices."""
    found: dict[str, None] = {}
    if told := content.get("default_pov"):
        found[told] = None
    entries = [one for entry in content["entries"] for one in (entry, *entry.get("alternatives", ()))]
    for entry in entries:
        found.update(dict.fromkeys(entry.get("visible_to", ())))
    for scene in content["scenes"].values():
        if told := scene.get("default_pov"):
            found[told] = None
        for node in scene["nodes"]:
            for choice in node.get("choices", ()):
                found.update(dict.fromkeys(choice.get("visible_to", ())))
    return list(found) or ["narrator"]


class _Making:
    """One story in the making: what it draws from."""

    def __init__(self, random: Random, paths: list[str], povs: list[str], assets: tuple[str, ...]) -> None:
        self.random, self.paths, self.povs, self.assets = random, paths, povs, assets

    def likely(self, chance: float) -> bool:
        return self.random.random() < chance

    def entries(self, scenes: list[str]) -> list[Json]:
        """Most scenes in order, some of them twice, some as alternatives of a branch group; the first always plays."""
        random = self.random
        entries: list[Json] = [{"id": "first", "scene": scenes[0]}]
        pending = [*scenes[1:], *(random.choice(scenes) for _ in range(random.randint(0, 2)))]
        while pending:
            id_ = f"entry {len(entries)} \"x\"" if self.likely(0.1) else f"entry-{len(entries)}"
            if self.likely(0.35):
                taken, pending = pending[:3], pending[3:]
                one: Json = {"id": id_, "group": random.choice(("fork", "a b", "[g]")), "alternatives": [
                    self._when({"scene": scene}) for scene in taken
                ]}
                if self.likely(0.3):
                    one["label"] = self.text()
                entries.append(self._when(one, final=False))
            else:
                entries.append(self._when({"id": id_, "scene": pending.pop(0)}))
        return entries

    def _when(self, entry: Json, *, final: bool = True) -> Json:
        if self.likely(0.4):
            entry["conditions"] = self.conditions()
        if self.likely(0.25):
            entry["visible_to"] = self.views()
        if final and self.likely(0.15):
            entry["final"] = self.likely(0.8)
        return entry

    def views(self) -> list[str]:
        return self.random.sample(self.povs, self.random.randint(1, len(self.povs)))

    def scene(self, id_: str, most: int) -> Json:
        random = self.random
        ids = random.sample(NODE_IDS, random.randint(1, most))
        scene: dict[str, Json] = {"id": id_, "start": ids[0] if self.likely(0.8) else random.choice(ids), "nodes": []}
        scene["nodes"] = [self.node(index, ids) for index in range(len(ids))]
        if self.likely(0.4):
            scene["variables"] = self.tree(random.randint(0, 3))
        if self.likely(0.3):
            scene["title"] = random.choice(("The station", "\"100%\" [x] {b}", "#", "عربي"))
        if self.likely(0.3):
            scene["default_pov"] = random.choice(self.povs)
        elif self.likely(0.2):
            scene["metadata"] = {"default_pov": random.choice((*self.povs, " ann ", 7, ""))}
        return scene

    def node(self, index: int, ids: list[str]) -> Json:
        random = self.random
        node: dict[str, Json] = {"id": ids[index]}
        if (type_ := random.choice(TYPES)) != "dialogue" or self.likely(0.3):
            node["type"] = type_
        if self.likely(0.9):
            node["text"] = self.text()
        if self.likely(0.7):
            node["speaker"] = random.choice(SPEAKERS)
        if self.likely(0.35):
            node["actions"] = self.actions()
        if self.likely(0.3):
            node["directives"] = any_directives(random, self.assets)
        if self.likely(0.12):
            node["end"] = self.likely(0.8)
        if index + 1 < len(ids) or self.likely(0.25):
            node["choices"] = self.choices(index, ids)
        return node

    def choices(self, index: int, ids: list[str]) -> list[Json]:
        random = self.random
        manner = random.choice(("one", "one", "menu", "menu", "menu", "weighted", "silent", "empty"))
        if manner == "empty":
            return []
        count = 1 if manner == "one" else random.randint(2, 4)
        choices = [self.choice(index, ids, number, manner) for number in range(count)]
        if self.likely(0.1):
            choices[-1].pop("id", None)
        return choices

    def choice(self, index: int, ids: list[str], number: int, manner: str) -> Json:
        random = self.random
        # Mostly onwards, so that plays end; sometimes anywhere, so that there are loops.
        onwards = index + 1 < len(ids) and self.likely(0.9)
        choice: dict[str, Json] = {"target": random.choice(ids[index + 1:] if onwards else ids)}
        if self.likely(0.7):
            choice["id"] = random.choice((f"c{number}", f"c {number} \"[x]\"", f"選択{number}", f"c{number}"))
        if manner != "silent" and self.likely(0.9):
            choice["label"] = self.text() if self.likely(0.5) else f"Option {number}"
        if manner == "weighted" or self.likely(0.05):
            choice["weight"] = random.choice(WEIGHTS)
        if self.likely(0.3):
            choice["conditions"] = self.conditions()
        if self.likely(0.4):
            choice["actions"] = self.actions()
        if self.likely(0.15):
            choice["visible_to"] = self.views()
        if self.likely(0.1):
            choice["description"] = self.text()
        return choice

    def conditions(self) -> list[Json]:
        return [self.condition() for _ in range(self.random.choice((1, 1, 1, 2)))]

    def condition(self) -> Json:
        random = self.random
        operator = random.choice((*OPERATORS, "exists", "not_exists", "gte", "neq", "not_in"))
        condition: dict[str, Json] = {"key": random.choice(self.paths), "operator": operator}
        if operator in ("in", "not_in"):
            condition["value"] = [self.value() for _ in range(random.randint(0, 4))]
        elif operator in ("gt", "gte", "lt", "lte"):
            condition["value"] = random.choice(NUMBERS) if self.likely(0.85) else self.value()
        elif operator in ("eq", "neq"):
            condition["value"] = self.value()
        return condition

    def actions(self) -> list[Json]:
        return [self.action() for _ in range(self.random.randint(0, 3))]

    def action(self) -> Json:
        random = self.random
        action: dict[str, Json] = {
            "type": random.choice(("set", "set", "increment", "increment", "decrement", "clear")),
            "key": random.choice(self.paths),
        }
        if action["type"] == "set":
            action["value"] = self.value()
        elif action["type"] in ("increment", "decrement"):
            if self.likely(0.5):
                action["amount"] = random.choice(NUMBERS)
            elif self.likely(0.4):
                action["value"] = random.choice(NUMBERS)
        elif self.likely(0.1):
            action["value"] = self.value()
        return action

    def tree(self, size: int) -> Json:
        """Variables to begin with: the first names of the story's paths, as objects where a path goes on."""
        random = self.random
        tree: dict[str, Json] = {}
        for path in random.sample(self.paths, min(size, len(self.paths))):
            name, _, rest = path.partition(".")
            value = self.value()
            for part in reversed(rest.split(".") if rest and self.likely(0.7) else ()):
                value = {part: value}
            tree[name] = value
        return tree

    def characters(self) -> Json:
        random = self.random
        return {
            id_: {"name": random.choice((id_.title(), "Same", "\"[x]\" {b} 100%", "عربي", "🙂 Face", "  two  spaces "))}
            for id_ in ("ann", "ben", "None", "e") if self.likely(0.6)
        }

    def text(self) -> str:
        text = self.random.choice(TEXTS)
        return text + self.random.choice(TEXTS) if self.likely(0.15) else text

    def value(self) -> Json:
        return self.random.choice(VALUES)
