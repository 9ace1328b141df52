"""Loads the sample project into a studio, through the same commands as everybody: doing it twice changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from commands.declaration import Command
from commands.operations.ledger import (
    DeductCredits,
    GrantCredits,
    RefundCredits,
    ReleaseReservation,
    ReserveCredits,
    SettleReservation,
)
from commands.story.character import EditCharacter
from commands.story.scene import AddNode, CreateScene, EditNode, RenameScene, SetSceneVariables
from commands.story.timeline import CreateTimeline
from commands.story.world import CreateWorld
from commands.story.worldline import ForkWorldline
from commands.studio.asset import ReferenceAsset
from commands.trust.policy import AcknowledgePolicy, EnforcePolicy
from domain.errors import ComfyVNError, Invalid, Refused
from domain.ids import MAIN
from domain.trust.policy_rules import Thing
from services.demo import contents
from services.dispatcher import Receipt
from services.intake.importing import import_card
from services.keeping_assets import AssetFacts, examined, kept
from services.studio import Asker, Studio

PROJECT: Final = "demo"
AUTHOR: Final = "ada"
EDITOR: Final = "ben"
PRODUCER: Final = "studio"

ACCOUNT: Final = "saltmere"
CREDIT: Final = 1_000_000
"""Microcredits in a credit."""

Report = Callable[[int, int], None]
"""Told (steps done, steps in all)."""


class Step(NamedTuple):
    """One thing that was done: a sentence, its events, and the log's position after it.

    ``repeated``: it had been done before, and nothing was recorded now. ``refused``: the code of the refusal that this
    step was there to show, ``said`` its sentence.
    """

    sentence: str
    actor: str
    worldline: str
    events: tuple[str, ...]
    position: int
    repeated: bool
    refused: str = ""
    said: str = ""


@dataclass
class DemoAccount:
    """What the sample project holds now, for people to look at.

    ``scenes`` maps an id to its title, nodes and endings; ``assets`` a file to its asset's id; ``differences`` says
    what is another on the second worldline, and on the first one since; amounts are microcredits.
    """

    project: str
    steps: list[Step] = field(default_factory=list)
    scenes: dict[str, dict[str, Any]] = field(default_factory=dict)
    characters: dict[str, str] = field(default_factory=dict)
    assets: dict[str, str] = field(default_factory=dict)
    worldlines: list[str] = field(default_factory=list)
    differences: dict[str, dict[str, Any]] = field(default_factory=dict)
    credits: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)

    @property
    def recorded(self) -> int:
        """Events that the steps of this loading asked for: none when everything was there already."""
        return sum(len(step.events) for step in self.steps if not step.repeated)

    @property
    def position(self) -> int:
        """The newest position that a view has to count to show all of it."""
        return max((step.position for step in self.steps), default=0)


def quiet(done: int, total: int) -> None:
    """Tells nobody."""


async def load_demo(studio: Studio, report: Report = quiet, *, project: str = PROJECT) -> DemoAccount:
    """Brings the sample project into being in a project of its own; raises the kinds of ``domain.errors``.

    Every step carries an idempotency key, so that a loading that was interrupted goes on, and a repeated one records
    nothing, whatever people have changed in the project since.
    """
    return await _Loading(studio, project, report).everything()


class _Loading:
    def __init__(self, studio: Studio, project: str, report: Report) -> None:
        self.studio = studio
        self.project = project
        self.report = report
        self.account = DemoAccount(project)
        self.scenes = {name: contents.told(name) for name in contents.SCENES}
        self.branch = contents.told(contents.BRANCH)
        self.uses = {name: set(contents.named(scene)) for name, scene in self.scenes.items()}
        shared = sum(len(users) - 1 for users in self._users().values() if users)
        self.total = len(contents.art()) + shared + len(self.scenes) + 2 + 4 + 6 + 7 + 4

    async def everything(self) -> DemoAccount:
        self.report(0, self.total)
        await self._assets()
        await self._story()
        await self._lore()
        await self._worldlines()
        await self._credits()
        await self._policy()
        self.report(self.total, self.total)
        return self.account

    # --- pictures, sounds, story ------------------------------------------------------------------------------------

    def _users(self) -> dict[str, list[str]]:
        files = [f"art/{path.name}" for path in contents.art()]
        return {file: [name for name, used in self.uses.items() if file in used] for file in files}

    async def _assets(self) -> None:
        users = self._users()
        for path in contents.art():
            file = f"art/{path.name}"
            first, *others = users[file] or [""]
            facts = AssetFacts.model_validate({
                "asset_type": contents.KINDS[path.suffix], "tags": ["saltmere", contents.KINDS[path.suffix]],
                "origin": "made for the sample project by services/demo/make_art.py",
                **({} if path.name == contents.UNLICENSED else {"licence": "CC0-1.0"}),
                **({"reference": f"scene:{first}"} if first else {}),
            })
            found = await examined(path, facts, how="register", name=path.name)
            self.account.assets[file] = uid = found.command.uid
            asker = self._asker(AUTHOR, f"asset:{path.name}")
            receipts = await kept(self.studio, [found], asker, project=self.project)
            self._done(f"{path.name} is an asset.", AUTHOR, MAIN, receipts)
            for other in others:
                await self._ask(f"{path.name} is used in {other} too.", AUTHOR, f"use:{path.name}:{other}",
                                ReferenceAsset(uid=uid, reference=f"scene:{other}"))

    async def _story(self) -> None:
        for name, scene in self.scenes.items():
            document = contents.resolved(scene, self.account.assets)
            self.account.scenes[name] = {
                "title": scene["title"], "nodes": len(scene["nodes"]), "endings": contents.endings(scene),
            }
            await self._ask(f"“{scene['title']}” is written: {len(scene['nodes'])} nodes.", AUTHOR, f"scene:{name}",
                            CreateScene.model_validate(document))
        for card in sorted(contents.CARDS.glob("*.json")):
            asker = self._asker(AUTHOR, f"card:{card.name}")
            taken = await import_card(self.studio, card, asker, project=self.project)
            self.account.characters[str(taken.character_id)] = taken.name
            self._done(f"{taken.name} comes in from a character card.", AUTHOR, MAIN, taken.receipts)

    async def _lore(self) -> None:
        world, order = contents.lore("saltmere"), contents.lore("timeline")
        await self._ask(f"The world of {world['name']}: {len(world['rules'])} rules, {len(world['locations'])} places.",
                        AUTHOR, "world", CreateWorld.model_validate(contents.resolved(world, self.account.assets)))
        for name, facts in contents.lore("people").items():
            more = contents.resolved(facts, self.account.assets)
            sentence = f"{name.capitalize()} gets faces, poses and traits."
            try:
                await self._ask(sentence, AUTHOR, f"lore:{name}",
                                EditCharacter.model_validate({"character_id": name, **more}))
            except Refused as error:  # loaded by an earlier release, and somebody has deleted the character since
                if error.code != "character_deleted":
                    raise
                self._done(sentence, AUTHOR, MAIN, [])
        await self._ask(f"{len(order['entries'])} scenes are put in order.", AUTHOR, "timeline",
                        CreateTimeline.model_validate(order))

    async def _worldlines(self) -> None:
        branch, line = self.branch, self.branch["worldline_id"]
        scene = branch["scene"]
        await self._ask(f"The story forks: “{branch['label']}”.", EDITOR, "fork", ForkWorldline(
            worldline_id=line, label=branch["label"], notes=branch["notes"], pov="ivo",
        ))
        there: dict[str, Command] = {
            "title": RenameScene(scene_id=scene, title=branch["title"]),
            "variables": SetSceneVariables(scene_id=scene, set=branch["variables"]),
            **{f"add:{one['node']['id']}": AddNode.model_validate(
                contents.resolved({"scene_id": scene, **one}, self.account.assets)) for one in branch["add"]},
            **{f"edit:{one['node_id']}": EditNode.model_validate({"scene_id": scene, **one}) for one in branch["edit"]},
        }
        for key, command in there.items():
            await self._ask(f"There, {_deed(command)}.", EDITOR, f"{line}:{key}", command, worldline=line)
        meanwhile = branch["meanwhile_on_main"]
        await self._ask("Meanwhile, on main, the stairs get another sentence.", AUTHOR, "meanwhile",
                        EditNode.model_validate({"scene_id": scene, **meanwhile}))
        self.account.worldlines = [MAIN, line]
        self.account.differences = {
            line: {"scene": scene, "title": branch["title"], "variables": branch["variables"],
                   "added": [one["node"]["id"] for one in branch["add"]],
                   "edited": [one["node_id"] for one in branch["edit"]]},
            MAIN: {"scene": scene, "edited": [meanwhile["node_id"]]},
        }

    # --- credits and policy -----------------------------------------------------------------------------------------

    async def _credits(self) -> None:
        async def ask(sentence: str, key: str, command: Command) -> Step:
            return await self._ask(sentence, PRODUCER, f"credits:{key}", command)

        account = ACCOUNT
        await ask("The account is granted 12 credits.", "grant",
                  GrantCredits(account=account, amount=12 * CREDIT, grant_id="welcome", reason="sample project"))
        await ask("1.5 credits are held for a portrait.", "reserve", ReserveCredits(
            account=account, attempt_id="portrait-mara-1", amount=1_500_000, purpose="a portrait of Mara"))
        await ask("The portrait cost 1.18 credits; the rest is given back.", "settle",
                  SettleReservation(account=account, attempt_id="portrait-mara-1", actual=1_180_000))
        await ask("2 credits are held for studies of fog.", "reserve-fog", ReserveCredits(
            account=account, attempt_id="fog-studies-1", amount=2 * CREDIT, purpose="studies of fog"))
        await ask("Nobody needs the studies: what was held is released.", "release",
                  ReleaseReservation(account=account, attempt_id="fog-studies-1", reason="painted by hand instead"))
        spent = await ask("0.4 credits are paid for cleaning a sound, 0.1 of them come back.", "deduct", DeductCredits(
            account=account, attempt_id="sea-loop-1", amount=400_000, purpose="cleaning the sea"))
        back = await self._receipt(PRODUCER, "credits:refund", RefundCredits(
            account=account, attempt_id="sea-loop-1", amount=100_000, refund_id="sea-loop-refund", reason="hiss"))
        self.account.steps[-1] = spent._replace(
            events=(*spent.events, *(one.type for one in back.events)), position=back.position,
            repeated=spent.repeated and back.repeated,
        )
        over = await self._overdraft()
        self.account.credits = {
            "account": account, "granted": 12 * CREDIT, "spent": 1_180_000 + 300_000,
            "balance": 12 * CREDIT - 1_180_000 - 300_000, "refused": {"error": over.refused, "message": over.said},
        }

    async def _overdraft(self) -> Step:
        opera = DeductCredits(account=ACCOUNT, attempt_id="opera-1", amount=50 * CREDIT, purpose="an opera")
        sentence = "An opera for 50 credits is more than there is."
        asker = self._asker(PRODUCER, "credits:overdraft")
        try:
            # Tried without paying: by now somebody may have granted enough, and then the opera must not be bought.
            await self.studio.ask(opera, asker, project=self.project, dry_run=True)
        except Refused:
            return await self._ask(sentence, PRODUCER, "credits:overdraft", opera, expect="insufficient_credits")
        return self._done("The account could pay for an opera by now; nobody buys one.", PRODUCER, MAIN, [])

    async def _policy(self) -> None:
        project = Thing(kind="project", id=self.project, facts={"rating": "E"})
        parts = tuple(
            Thing(kind="asset", id=uid, facts={
                "origin": "sample project", **({} if file.endswith(contents.UNLICENSED) else {"licence": "CC0-1.0"}),
            })
            for file, uid in self.account.assets.items()
        )
        early = await self._ask(
            "Nobody has acknowledged the notice yet: nothing may leave.", AUTHOR, "policy:early",
            EnforcePolicy(action="export.renpy", subject=project), expect="acknowledgement_missing")
        await self._ask("The author acknowledges the notice.", AUTHOR, "policy:acknowledge",
                        AcknowledgePolicy(notes="for the sample project"))
        await self._ask("Now the export is allowed.", AUTHOR, "policy:export",
                        EnforcePolicy(action="export.renpy", subject=project))
        blocked = await self._ask(
            "Publishing is refused: one picture has no licence.", AUTHOR, "policy:publish",
            EnforcePolicy(action="publish.web", subject=project, parts=parts), expect="policy_blocked")
        self.account.policy = {
            "acknowledged_by": AUTHOR, "allowed": ["export.renpy"],
            "refused": [{"action": "export.renpy", "error": early.refused, "message": early.said},
                        {"action": "publish.web", "error": blocked.refused, "message": blocked.said,
                         "asset": self.account.assets[f"art/{contents.UNLICENSED}"]}],
        }

    # --- asking -----------------------------------------------------------------------------------------------------

    def _asker(self, actor: str, key: str) -> Asker:
        return Asker(actor, key=f"demo:{key}", correlation_id="demo")

    async def _receipt(self, actor: str, key: str, command: Command, worldline: str = MAIN) -> Receipt:
        return await self.studio.ask(command, self._asker(actor, key), project=self.project, worldline=worldline)

    async def _ask(
        self, sentence: str, actor: str, key: str, command: Command, *, worldline: str = MAIN, expect: str = ""
    ) -> Step:
        """Asks one command. ``expect`` names the refusal that it is there to show; any other error is raised."""
        receipt: Receipt | None = None
        try:
            receipt = await self._receipt(actor, key, command, worldline)
            problem: ComfyVNError | None = receipt.problem
        except Refused as error:
            problem = error
        except Invalid as error:
            if error.code != "idempotency_key_reused":
                raise
            # An earlier release has done this step with a sample that was a little different: that one stays.
            return self._done(sentence, actor, worldline, [])
        if problem is not None and problem.code != expect:
            raise problem
        if expect and problem is None:
            raise Refused(
                f"The sample project is not as it was made any more: {sentence[:-1]} was not refused.",
                error="demo_changed",
            )
        return self._done(sentence, actor, worldline, [receipt] if receipt else [], problem)

    def _done(
        self, sentence: str, actor: str, worldline: str, receipts: Sequence[Receipt],
        problem: ComfyVNError | None = None,
    ) -> Step:
        events = tuple(outcome.type for receipt in receipts for outcome in receipt.events)
        step = Step(
            sentence, actor, worldline, events, max((receipt.position for receipt in receipts), default=0),
            bool(receipts) and all(receipt.repeated for receipt in receipts), problem.code if problem else "",
            problem.message if problem else "",
        )
        self.account.steps.append(step)
        self.report(len(self.account.steps), self.total)
        return step


def _deed(command: Command) -> str:
    match command:
        case RenameScene(title=title):
            return f"the scene is called “{title}”"
        case SetSceneVariables():
            return "there is no oil"
        case AddNode(node=node):
            return f"a node {node.id} is added"
        case EditNode(node_id=node_id):
            return f"the node {node_id} is another"
        case _:
            raise AssertionError(f"no words for {type(command).__name__}")
