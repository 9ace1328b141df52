"""ComfyUI as an engine. It forgets everything when it ends, so its id for a task is ours: made from the attempt.

What runs under that id is looked for in its queue and its history before anything is submitted (it would run the same
id twice), when polling, and after a crash. The socket is only there for progress.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar
from uuid import uuid4

from adapters.engines.local_comfy.building import Graph, build, filled, run_of
from adapters.engines.local_comfy.catalogue import LISTS, UPLOAD_BYTES, Catalogue, lacking
from adapters.engines.local_comfy.choosing import Chosen, choose, offered
from adapters.engines.local_comfy.client import ADDRESS, START_HINT, Client, Gone, Rejected, quoted
from adapters.engines.local_comfy.documents import Documents
from adapters.engines.local_comfy.events import Listener
from adapters.engines.local_comfy.outcomes import MEDIA, odd, outcome, refusal
from adapters.engines.local_comfy.taking import taken
from adapters.engines.local_comfy.workflows import Workflow, WorkflowFolder, built_in, titles
from domain.ports.engines import (
    Accepted,
    Balance,
    Cancelled,
    Cancelling,
    EngineError,
    Failed,
    Health,
    Lost,
    Material,
    Offer,
    Outcome,
    Product,
    Reading,
    Submission,
    Task,
    Traits,
    Waiting,
    Working,
)
from domain.ports.workflows import TakenWorkflow, Taking
from domain.studio.fault import fault
from domain.values import Json

T = TypeVar("T")

FOLDER: Final = "comfyvn"
"""Where our uploads and results lie below ComfyUI's ``input`` and ``output``."""

REMEMBERED: Final = 1000
"""Most cancelled tasks that are remembered: of those ComfyUI itself keeps no trace (trap 6)."""

HISTORY: Final = 64
"""How many entries of the history are searched in servers that choose their own ids."""

OURS: Final = "comfyvn"
"""Key of ``extra_data`` that holds what we note about a run; it comes back in queue and history."""


class LocalComfy:
    """One ComfyUI server. ``patience_seconds`` bounds each request; ``own`` holds workflows that users wrote there."""

    def __init__(self, address: str = ADDRESS, *, own: WorkflowFolder | None = None, slots: int = 1,
                 patience_seconds: float = 30.0, key: str | None = None) -> None:
        self._client = Client(address, patience_seconds, key)
        self._catalogue = Catalogue(self._client)
        self._client_id = uuid4().hex
        self._listener = Listener(self._client.address, self._client_id, self._client.login)
        self._cancelled: dict[str, None] = {}
        self._own = own
        self._documents = Documents()
        self._health_patience = min(5.0, patience_seconds)
        self._traits = Traits("local_comfy", "ComfyUI", "local", paid=False, finds_attempts=True, slots=slots,
                              poll_seconds=0.25)

    @property
    def traits(self) -> Traits:
        return self._traits

    async def workflows(self) -> tuple[Sequence[Workflow], Mapping[str, str]]:
        """The workflows in force, users' own before ours of the same id; and files that are none, with the reason."""
        own, problems = await asyncio.to_thread(self._own.read) if self._own is not None else ([], {})
        taken = {flow.id for flow in own}
        return [*own, *(flow for flow in built_in() if flow.id not in taken)], problems

    @property
    def listening(self) -> asyncio.Event:
        """Set while the socket is connected."""
        return self._listener.connected

    async def verify(self) -> None:
        await self._stats()

    async def balance(self) -> Balance | None:
        return None

    async def estimate(self, task: Task) -> tuple[float, str] | None:
        return None

    async def health(self) -> Health:
        try:
            async with asyncio.timeout(self._health_patience):
                stats = await self._stats()
        except TimeoutError:
            return Health("offline", "ComfyUI does not answer.", (START_HINT, "start_engine"))
        except EngineError as error:
            away = error.fault.code in ("CONNECTION_REFUSED", "CONNECTION_TIMEOUT", "SERVICE_UNAVAILABLE")
            if error.fault.meaning.action in ("add_key", "replace_key"):
                return Health("not_connected", error.fault.message, ("Set COMFYVN_COMFY_KEY.", "add_key"))
            return Health("offline" if away else "error", error.fault.message, (START_HINT, "start_engine"))
        system = stats["system"]
        version = str(system.get("comfyui_version", ""))[:50]
        devices = [one for one in stats.get("devices") or [] if isinstance(one, dict)]
        return Health("running", f"ComfyUI {version} is running.".replace("  ", " "), facts={
            "version": version, "python": str(system.get("python_version", ""))[:20],
            "workflow_problems": dict((await self.workflows())[1]),
            "devices": [{key: one[key] for key in ("name", "type", "vram_total", "vram_free")
                         if isinstance(one.get(key), str | int)} for one in devices[:16]],
        })

    async def offers(self) -> Sequence[Offer]:
        flows, _ = await self.workflows()
        known = await self._described(flows)
        return offered(flows, known, await self._catalogue.files("loras"))

    async def installed(self) -> Mapping[str, Sequence[str]]:
        """Folder of models -> its files, for people who choose."""
        return {folder: await self._catalogue.files(folder) for folder in LISTS}

    async def take_workflow(self, content: bytes, taking: Taking) -> TakenWorkflow:
        """What is in somebody's graph, compared with what is installed here."""
        return await taken(content, taking, self._catalogue)

    async def workflow_offers(self, workflow: Material, reading: Reading) -> Sequence[Offer]:
        """What a stored workflow can do here now."""
        flow = await self._documents.read(workflow, reading)
        return offered([flow], await self._described([flow]), await self._catalogue.files("loras"))

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        if (found := await self._refusing(self._find(task.attempt))) is not None:
            return found
        chosen, values = await self._refusing(self._chosen(task, reading))
        graph = build(chosen.flow, values, dict.fromkeys(task.inputs, "pending"), f"{FOLDER}/{task.attempt}")
        await self._refusing(self._check(chosen.flow, graph))
        files: dict[str, str] = {}
        for name, materials in task.inputs.items():
            if len(materials) != 1:
                raise EngineError(fault("CONTRACT_MISMATCH", f"{chosen.flow.name} takes one {name}.", field=name))
            files[name] = await self._refusing(self._upload(materials[0], reading))
        graph = build(chosen.flow, values, files, f"{FOLDER}/{task.attempt}")
        return await self._send(task.attempt, graph, {
            "workflow": chosen.flow.id, "model": chosen.model, "nodes": dict(titles(graph)),
            "facts": _facts(values, task.workflow),
        })

    async def find(self, attempt: str) -> Accepted | None:
        return await self._find(attempt, thorough=True)

    async def poll(self, accepted: Accepted) -> Outcome:
        run = accepted.external_id
        if (entry := await self._history(run)) is None:
            place = await self._place(run)
            if place is not None:
                self._listener.watch(run, _titles(accepted))
                return place
            entry = await self._history(run)  # it may have ended between the two questions
        if entry is None:
            return Cancelled() if run in self._cancelled else Lost()
        self._listener.forget(run)
        facts = accepted.memo.get("facts")
        found = outcome(entry, {"workflow": accepted.memo.get("workflow"), "model": accepted.memo.get("model"),
                                "embeds": "prompt_graph", **(facts if isinstance(facts, dict) else {})})
        if isinstance(found, Failed) and found.fault.detail.get("reason") == "no_files":
            with suppress(EngineError):  # from the cache nothing would come the next time either
                await self._tell("/free", {"free_memory": True})
        return found

    async def cancel(self, accepted: Accepted) -> Cancelling:
        """Twice: what waited when we looked may have begun when we asked, and then only an interrupt helps (trap 5)."""
        run, asked = accepted.external_id, False
        for _ in range(2):
            match await self._place(run):
                case Waiting():
                    await self._tell("/queue", {"delete": [run]})
                    asked = True
                case Working():
                    # It ends at the next border of a node: success may still win (trap 4).
                    await self._tell("/interrupt", {"prompt_id": run})
                    return Cancelling.REQUESTED
                case _:
                    break
        if await self._history(run) is not None:
            return Cancelling.TOO_LATE
        if asked or run in self._cancelled:
            self._remember_cancelled(run)
            return Cancelling.CANCELLED
        return Cancelling.UNKNOWN_TASK

    @asynccontextmanager
    async def fetch(self, accepted: Accepted, product: Product) -> AsyncIterator[AsyncIterator[bytes]]:
        query = {key: str(product.memo.get(key, "")) for key in ("filename", "subfolder", "type")}
        try:
            async with self._client.file(query) as pieces:
                yield pieces
        except Gone:
            # The node cache would name the same file again (trap 10): it is emptied, and the next attempt runs anew.
            await self._tell("/free", {"free_memory": True})
            raise EngineError(fault("ENGINE_ERROR", f"ComfyUI no longer has {product.name}: it is made again.",
                                    reason="file_gone")) from None

    async def close(self) -> None:
        await self._listener.close()
        await self._client.close()

    async def _stats(self) -> dict[str, Any]:
        stats = await self._client.get("/system_stats")
        if not isinstance(stats, dict) or not isinstance(stats.get("system"), dict):
            raise odd("What answers there is not ComfyUI.")
        return stats

    @staticmethod
    async def _refusing(work: Awaitable[T]) -> T:
        """What goes wrong before the graph is sent means that nothing was accepted."""
        try:
            return await work
        except EngineError as error:
            raise EngineError(error.fault, Submission.REFUSED) from None

    async def _described(self, flows: Sequence[Workflow]) -> dict[str, Mapping[str, Any] | None]:
        return await self._catalogue.described(
            [node.class_type for flow in flows for node in flow.graph.values()]
        )

    async def _chosen(self, task: Task, reading: Reading) -> tuple[Chosen, dict[str, Json]]:
        if task.workflow is not None:  # that one and no other, whatever is called the same here
            flows: Sequence[Workflow] = [await self._documents.read(task.workflow, reading)]
        else:
            flows, _ = await self.workflows()
        suited = [flow for flow in flows if flow.operation == task.operation]
        chosen = choose(suited, task, await self._described(suited))
        return chosen, filled(chosen.flow, task.parameters, chosen.model)

    async def _check(self, flow: Workflow, graph: Graph) -> None:
        known = await self._catalogue.described([node["class_type"] for node in graph.values()])
        uploads = {place for one in flow.inputs.values() for place in one.at}
        folders = {place: one.folder for one in flow.parameters.values() if one.folder for place in one.at}
        if (why := lacking(graph, known, uploads, folders)) is not None:
            self._catalogue.forget()  # whoever installs it now need not wait
            raise EngineError(why)

    async def _upload(self, material: Material, reading: Reading) -> str:
        if material.size > UPLOAD_BYTES and material.size > (limit := await self._catalogue.largest_upload()):
            raise EngineError(fault("FILE_REFUSED", f"ComfyUI takes no file of {material.size} bytes: start it with a "
                                    "larger --max-upload-size.", limit=limit))
        ending = next((end for end, media in MEDIA.items() if media == material.media_type), ".bin")
        name = hashlib.sha256(material.digest.encode()).hexdigest()[:32] + ending
        try:
            async with reading(material) as pieces:
                answer = await self._client.upload("/upload/image", name, FOLDER, material.size, pieces, {})
        except Rejected:
            raise odd("ComfyUI did not take the file.") from None
        # Another file may lie there under this name: then ComfyUI tells which name it took instead.
        told, folder = (answer.get("name"), answer.get("subfolder")) if isinstance(answer, dict) else (None, None)
        if not isinstance(told, str) or not isinstance(folder, str) or not told:
            raise odd("ComfyUI did not say where it put the file.")
        return f"{folder}/{told}" if folder else told

    async def _send(self, attempt: str, graph: Graph, memo: dict[str, Json]) -> Accepted:
        self._listener.watch(run_of(attempt), titles(graph))
        body = {"prompt": graph, "prompt_id": run_of(attempt), "client_id": self._client_id,
                "extra_data": {OURS: {"attempt": attempt, "memo": memo}}}
        try:
            answer = await self._client.post("/prompt", body)
        except Rejected as rejected:
            self._catalogue.forget()
            raise EngineError(refusal(rejected.answer)) from None
        run = answer.get("prompt_id") if isinstance(answer, dict) else None
        if not isinstance(run, str) or not run:
            raise EngineError(odd("ComfyUI did not say what it calls the run.").fault, Submission.UNKNOWN)
        accepted = Accepted(run, memo)
        if isinstance(answer.get("node_errors"), dict) and answer["node_errors"]:
            # Part of the graph was taken, part was not (trap 1): half a result is none.
            with suppress(EngineError):
                await self.cancel(accepted)
            raise EngineError(refusal(answer))
        return accepted

    async def _find(self, attempt: str, *, thorough: bool = False) -> Accepted | None:
        """The queue first: from there things only move on to the history."""
        running, pending = await self._queue()
        for item in [*running, *pending]:
            if item[1] == run_of(attempt) or _noted(item).get("attempt") == attempt:
                return _accepted(item)
        if (entry := await self._history(run_of(attempt))) is not None:
            return _accepted(entry.get("prompt"), run_of(attempt))
        if thorough:  # older servers give ids of their own, and an earlier release gave others
            latest = await self._client.get("/history", max_items=str(HISTORY))
            for run, entry in latest.items() if isinstance(latest, dict) else []:
                told = entry.get("prompt") if isinstance(entry, dict) else None
                if isinstance(told, list) and _noted(told).get("attempt") == attempt:
                    return _accepted(told, run)
        return None

    async def _history(self, run: str) -> dict[str, Any] | None:
        answer = await self._client.get("/history/" + quoted(run))
        if not isinstance(answer, dict) or not isinstance(answer.get(run, {}), dict) or (answer and run not in answer):
            raise odd("What answers there is not ComfyUI.")
        return answer.get(run)

    async def _queue(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """(running, pending), the latter in the order in which they will run."""
        answer = await self._client.get("/queue")
        running, pending = (
            (answer.get("queue_running"), answer.get("queue_pending")) if isinstance(answer, dict) else (None, None)
        )
        if not isinstance(running, list) or not isinstance(pending, list) or not all(map(_item, [*running, *pending])):
            raise odd("What answers there is not ComfyUI.")
        return running, sorted(pending, key=lambda item: item[0])  # as told it is a heap, not a line

    async def _place(self, run: str) -> Waiting | Working | None:
        running, pending = await self._queue()
        if any(item[1] == run for item in running):
            progress = self._listener.progress(run)
            return Working(progress.fraction, progress.stage) if progress else Working()
        ids = [item[1] for item in pending]
        # Numbers tell nothing of the place: refused submissions use them up too (trap 2).
        return Waiting(ids.index(run) + len(running)) if run in ids else None

    async def _tell(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            await self._client.post(path, body)
        except Rejected:
            raise odd(f"ComfyUI did not take {path}.") from None

    def _remember_cancelled(self, run: str) -> None:
        self._cancelled[run] = None
        while len(self._cancelled) > REMEMBERED:
            del self._cancelled[next(iter(self._cancelled))]


def _item(item: Any) -> bool:
    number = isinstance(item, list) and len(item) >= 4 and isinstance(item[0], int | float)
    return number and isinstance(item[1], str)


def _noted(item: Sequence[Any]) -> Mapping[str, Any]:
    """What we noted about a run when we submitted it."""
    extra = item[3] if len(item) > 3 else None
    noted = extra.get(OURS) if isinstance(extra, dict) else None
    return noted if isinstance(noted, dict) else {}


def _accepted(item: Any, run: str | None = None) -> Accepted:
    listed = item if isinstance(item, list) else []
    memo = _noted(listed).get("memo")
    return Accepted(run or str(listed[1]), memo if isinstance(memo, dict) else {})


def _titles(accepted: Accepted) -> Mapping[str, str]:
    nodes = accepted.memo.get("nodes")
    return {str(key): str(value) for key, value in nodes.items()} if isinstance(nodes, dict) else {}


def _facts(values: Mapping[str, Json], workflow: Material | None) -> dict[str, Json]:
    """What provenance wants of the values: seed, models, LoRAs with their characters; never the prompt."""
    facts: dict[str, Json] = {}
    if workflow is not None:
        facts["workflow_digest"] = workflow.digest.removeprefix("sha256:")
    if (seed := values.get("seed")) is not None:
        facts["seed"] = seed
    loras = values.get("loras")
    if isinstance(loras, list) and loras:
        facts["loras"] = [{key: one[key] for key in ("name", "strength", "character") if one[key]} for one in loras]
    return facts
