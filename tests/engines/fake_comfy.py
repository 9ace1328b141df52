"""A ComfyUI that answers on a real socket as a real one was seen to: message by message, traps included.

It runs graphs node by node and makes real (small) pictures. What it does wrong on purpose, the real one does too; the
levers below that (silence, nonsense, floods) are for what may listen at an address instead.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from contextlib import suppress
from email.parser import BytesParser
from io import BytesIO
from typing import Any, Self
from uuid import uuid4

from engines.comfy_judging import judged
from engines.comfy_newer import VERSION as NEWER
from engines.comfy_newer import newer_specs, refused_id
from engines.comfy_nodes import Spec, info, key_of, link, order_of, png, run, specs
from engines.wire import Answer, Asked, Dropped, Server, Socket, as_json
from PIL import Image

VERSION = "0.3.64"


class FakeComfy:
    """One server, of the recorded version or a ``newer`` one. ``models`` are the files of its folders; ``gate`` holds
    its nodes."""

    def __init__(self, *, newer: bool = False) -> None:
        self.newer = newer
        self.server = Server(self._answer, self._opened)
        self.models: dict[str, list[str]] = {"checkpoints": ["dreamy.safetensors"], "loras": ["mira.safetensors",
                                             "film.safetensors"], "upscale_models": ["4x-sharp.pth"], "vae": []}
        self.without: set[str] = set()
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.prompts: list[dict[str, Any]] = []
        self.own_ids = False
        self.upload_bytes = 100 * 2**20
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_gate = asyncio.Event()
        self.error_next: dict[str, Any] | None = None
        self.drop_next = self.silent = False
        self.babble: bytes | None = None
        self.flood = self.endless = False
        self.login = self.prefix = ""
        self.refuse: dict[str, int] = {}
        self.old = False
        self.opened: asyncio.Queue[str] = asyncio.Queue()
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self.queue: list[list[Any]] = []
        self.running: list[Any] | None = None
        self.history: dict[str, dict[str, Any]] = {}
        self.cache: dict[str, list[Any]] = {}
        self.outputs: dict[str, dict[str, Any]] = {}
        self.sockets: dict[str, Socket] = {}
        self.interrupted = False
        self.stopped = asyncio.Event()
        self._work = asyncio.Event()

    @property
    def url(self) -> str:
        return self.server.url

    async def __aenter__(self) -> Self:
        await self.server.start()
        self._worker = asyncio.create_task(self._works())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def kill(self) -> None:
        """``kill -9``: queue and history are gone, files stay (trap 11)."""
        await self.server.kill()
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        self._clear()
        self.cache.clear()
        self._number = 0

    async def restart(self) -> None:
        await self.kill()
        await self.server.start()
        self._worker = asyncio.create_task(self._works())

    def occupy(self) -> None:
        """Somebody else's run that takes its time, until the gate is opened."""
        self.gate.clear()
        graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1,
                                                              "color": len(self.prompts)}},
                 "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "other"}}}
        self._queued([self._take_number(), str(uuid4()), graph, {"client_id": "somebody-else"}, ["2"]])

    def disconnect(self) -> None:
        """Breaks every WebSocket and nothing else."""
        for socket in self.sockets.values():
            socket.abort()

    # HTTP

    async def _answer(self, asked: Asked) -> Answer:
        if self.login and asked.headers.get("authorization") != self.login:  # by a proxy that stands before it
            return Answer(401, b"<html>401 Authorization Required</html>", "text/html")
        if not asked.path.startswith(f"{self.prefix}/"):
            return Answer(404, b"404: Not Found", "text/plain")
        path = asked.path.removeprefix(self.prefix)
        path = path.removeprefix("/api") if path.startswith("/api/") else path
        self.asked.append((asked.method, path))
        if path in self.refuse:
            return Answer(self.refuse[path], b"<html>no</html>", "text/html", {"Location": "/login"})
        if self.silent:
            await asyncio.Event().wait()
        if self.babble is not None:
            return Answer(body=self.babble)
        if self.flood and path != "/view":
            return Answer(body=b'{"x": "', endless=b"x" * 65536)
        parts = path.strip("/").split("/", 1)
        match asked.method, parts:
            case "GET", ["system_stats"]:
                version = NEWER if self.newer else VERSION
                system = {"os": "posix", "comfyui_version": version, "python_version": "3.11.7",
                          "argv": ["/home/someone/ComfyUI/main.py"]}
                device = {"name": "cpu", "type": "cpu", "index": None, "vram_total": 8, "vram_free": 4}
                return as_json({"system": system, "devices": [device]})
            case "GET", ["object_info"]:
                return as_json({name: info(name, spec) for name, spec in self._known().items()})
            case "GET", ["object_info", _] if self.old:
                return Answer(404, b"404: Not Found", "text/plain")
            case "GET", ["object_info", name]:
                known = self._known()
                return as_json({name: info(name, known[name])} if name in known else {})
            case "GET", ["features"]:
                return as_json({"supports_preview_metadata": True, "max_upload_size": self.upload_bytes})
            case "GET", ["queue"]:
                running = [self.running] if self.running else []
                return as_json({"queue_running": running, "queue_pending": list(reversed(self.queue))})
            case "GET", ["prompt"]:
                return as_json({"exec_info": {"queue_remaining": self._remaining()}})
            case "GET", ["history"]:
                most = int(asked.query.get("max_items", "10000"))
                return as_json(dict(list(self.history.items())[-most:]))
            case "GET", ["history", id_]:
                return as_json({id_: self.history[id_]} if id_ in self.history else {})
            case "GET", ["view"]:
                return self._view(asked.query)
            case "POST", ["prompt"]:
                return self._post_prompt(asked)
            case "POST", ["queue"]:
                return self._post_queue(asked.json)
            case "POST", ["interrupt"]:
                wanted = asked.json.get("prompt_id") if asked.body else None
                if self.running and wanted in (None, self.running[1]):
                    self.interrupted = True
                    self.stopped.set()
                return Answer()
            case "POST", ["history"]:
                for id_ in [*self.history] if asked.json.get("clear") else asked.json.get("delete", []):
                    self.history.pop(id_, None)
                return Answer()
            case "POST", ["free"]:
                if asked.json.get("free_memory"):
                    self.cache.clear()
                    self.outputs.clear()
                return Answer()
            case "POST", ["upload", "image" | "mask"]:
                return self._upload(asked)
            case _:
                return Answer(404, b"404: Not Found", "text/plain")

    def _known(self) -> dict[str, Spec]:
        files = [f"{folder}/{name}" if folder else name for kind, folder, name in self.files if kind == "input"]
        every = (newer_specs if self.newer else specs)({**self.models, "input": files})
        return {name: spec for name, spec in every.items() if name not in self.without}

    def _remaining(self) -> int:
        return len(self.queue) + (self.running is not None)

    def _take_number(self) -> int:
        number, self._number = self._number, self._number + 1
        return number

    def _post_prompt(self, asked: Asked) -> Answer:
        try:
            body = asked.json
        except ValueError:
            return Answer(500, b"500 Internal Server Error\n\nServer got itself in trouble", "text/plain")
        if "prompt" not in body:
            error = {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided",
                     "extra_info": {}}
            return as_json({"error": error, "node_errors": {}}, 400)
        number = self._take_number()  # refused submissions use a number up too (trap 2)
        if body.get("front"):
            number = -number
        id_ = str(uuid4()) if self.own_ids else str(body.get("prompt_id") or uuid4())
        if self.newer and (error := refused_id(body.get("prompt_id"))) is not None:
            return as_json({"error": error, "node_errors": {}}, 400)
        error, node_errors, good = judged(body["prompt"], self._known(), self._input_exists, newer=self.newer)
        if error is not None:
            return as_json({"error": error, "node_errors": node_errors}, 400)
        extra = dict(body.get("extra_data") or {}) | ({"create_time": 1795244181944} if self.newer else {})
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        self.prompts.append(body)
        self._queued([number, id_, body["prompt"], extra, good])
        if self.drop_next:
            self.drop_next = False
            raise Dropped
        return as_json({"prompt_id": id_, "number": number, "node_errors": node_errors})

    def _queued(self, item: list[Any]) -> None:
        self.queue.append(item)
        self.queue.sort(key=lambda one: one[0])
        self._status()
        self._work.set()

    def _post_queue(self, body: Any) -> Answer:
        if body.get("clear"):
            self.queue.clear()
        for id_ in body.get("delete", []):
            found = next((one for one in self.queue if one[1] == id_), None)
            if found is not None:  # an unknown id is a silent 200; a deleted run leaves no trace (trap 6)
                self.queue.remove(found)
                self._status()
        return Answer()

    def _input_exists(self, name: str) -> bool:
        folder, _, file = name.rpartition("/")
        return ("input", folder, file) in self.files

    def _upload(self, asked: Asked) -> Answer:
        if len(asked.body) > self.upload_bytes:
            return Answer(413, b"Maximum request body size exceeded", "text/plain")
        head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
        parts = {str(one.get_param("name", header="content-disposition")): one
                 for one in BytesParser().parsebytes(head + asked.body).get_payload()}  # type: ignore[union-attr]
        texts = {name: part.get_payload(decode=True).decode() for name, part in parts.items() if name != "image"}
        name, content = str(parts["image"].get_filename()), parts["image"].get_payload(decode=True)
        folder = texts.get("subfolder", "")
        if ".." in folder or folder.startswith("/"):
            return Answer(400)
        stem, dot, ending = name.rpartition(".")
        number = 1
        while texts.get("overwrite") != "true" and self.files.get(("input", folder, name), content) != content:
            name, number = f"{stem} ({number}){dot}{ending}", number + 1
        self.files["input", folder, name] = content
        return as_json({"name": name, "subfolder": folder, "type": "input"})

    def _view(self, query: dict[str, str]) -> Answer:
        name = query.get("filename", "")
        if not name or name.startswith("/") or ".." in name or query.get("type", "output") not in (
            "output", "input", "temp"
        ):
            return Answer(400)
        content = self.files.get((query.get("type", "output"), query.get("subfolder", ""), name))
        if content is None:
            return Answer(404)
        tag = {"Etag": f'"{hashlib.sha256(content).hexdigest()[:16]}"', "Accept-Ranges": "bytes",
               "Last-Modified": "Sat, 21 Nov 2026 06:56:23 GMT", "Content-Disposition": f'filename="{name}"'}
        return Answer(200, content, "image/png", tag, endless=b"\0" * 65536 if self.endless else b"")

    # The socket

    async def _opened(self, socket: Socket) -> None:
        asked = socket.asked
        if asked.path != f"{self.prefix}/ws" or "/ws" in self.refuse or (
                self.login and asked.headers.get("authorization") != self.login):
            socket.abort()
            return
        sid = socket.asked.query.get("clientId") or uuid4().hex
        again = sid in self.sockets or (self.running is not None and self.running[3].get("client_id") == sid)
        self.sockets[sid] = socket
        self.opened.put_nowait(sid)
        socket.send({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": self._remaining()}},
                                                "sid": sid}})
        if again and self.running is not None:
            socket.send({"type": "executing", "data": {"node": "1"}})  # without prompt_id (trap 9)
        try:
            first = True
            while True:
                said = json.loads(await socket.heard.get())
                if first and said.get("type") == "feature_flags":
                    socket.send({"type": "feature_flags", "data": {"supports_preview_metadata": True,
                                                                   "max_upload_size": self.upload_bytes}})
                first = False
        finally:
            if self.sockets.get(sid) is socket:
                del self.sockets[sid]

    def _send(self, kind: str, data: dict[str, Any], sid: str | None = None) -> None:
        for name, socket in list(self.sockets.items()):
            if sid is None or sid == name:
                socket.send({"type": kind, "data": data})

    def _status(self) -> None:
        self._send("status", {"status": {"exec_info": {"queue_remaining": self._remaining()}}})

    # Running

    async def _works(self) -> None:
        while True:
            self._work.clear()
            while self.queue:
                self.running = self.queue.pop(0)
                self.interrupted = False
                self.stopped.clear()
                await self._run(self.running)
            await self._work.wait()

    async def _run(self, item: list[Any]) -> None:
        _, id_, graph, extra, wanted = item
        sid = extra.get("client_id")
        messages: list[Any] = []
        outputs: dict[str, Any] = {}

        def tell(kind: str, data: dict[str, Any], keep: bool = True) -> None:
            told = {**data, "prompt_id": id_}
            if keep:
                messages.append([kind, {**told, "timestamp": 1795244181944}])
            if sid is not None:  # without a client nobody hears of it (trap 8)
                self._send(kind, {**told, "timestamp": 1795244181944} if keep else told, sid)

        self._status()
        tell("execution_start", {})
        order = order_of(graph, wanted)
        keys = {node: key_of(graph, node) for node in order}
        cached = [node for node in order if keys[node] in self.cache or keys[node] in self.outputs]
        tell("execution_cached", {"nodes": cached})
        done: dict[str, list[Any]] = {}
        ended = await self._nodes(item, order, keys, done, outputs, tell)
        if ended == "success":
            tell("execution_success", {})
        self.history[id_] = {  # the same id again overwrites it (trap 7)
            "prompt": item, "outputs": outputs, "meta": {node: {
                "node_id": node, "display_node": node, "parent_node": None, "real_node_id": node} for node in outputs},
            "status": {"status_str": "success" if ended == "success" else "error", "completed": ended == "success",
                       "messages": messages},
        }
        self.running = None
        self._status()
        if sid is not None:
            self._send("executing", {"node": None, "prompt_id": id_}, sid)

    async def _nodes(self, item: list[Any], order: list[str], keys: dict[str, str], done: dict[str, list[Any]],
                     outputs: dict[str, Any], tell: Any) -> str:
        _, id_, graph, extra, _ = item
        states: dict[str, Any] = {}
        for node in order:
            class_ = graph[node]["class_type"]
            if keys[node] in self.outputs:  # the old file's name, whether it is there or not (trap 10)
                outputs[node] = self.outputs[keys[node]]
                tell("executed", {"node": node, "display_node": node, "output": outputs[node]}, keep=False)
                self._progress(id_, states, node, 1.0, "finished")
                continue
            if keys[node] in self.cache:
                done[node] = self.cache[keys[node]]
                continue
            self._progress(id_, states, node, 0.0, "running")
            tell("executing", {"node": node, "display_node": node}, keep=False)
            if not self.gate.is_set():
                self.at_gate.set()
                await self.gate.wait()
                self.at_gate.clear()
            await asyncio.sleep(0)
            if class_ == "ImageBlur" and graph[node]["inputs"].get("blur_radius", 0) >= 15:
                with suppress(TimeoutError):  # a wide blur takes its time, unless somebody interrupts it
                    await asyncio.wait_for(self.stopped.wait(), 2.0)
            if self.interrupted:  # at the border of a node, not before (trap 4)
                tell("execution_interrupted", {"node_id": node, "node_type": class_, "executed": list(done)})
                return "interrupted"
            if self.error_next is not None and id_ != "other" and extra.get("client_id") != "somebody-else":
                said, self.error_next = self.error_next, None
                tell("execution_error", {"node_id": node, "node_type": class_, "executed": list(done), **said})
                return "error"
            given = {name: done[value[0]][value[1]] if link(value) else value
                     for name, value in graph[node]["inputs"].items()}
            if class_ == "LoadVideo":  # what it shows is told of besides
                folder, _, name = given["file"].rpartition("/")
                outputs[node] = {"images": [{"filename": name, "subfolder": folder, "type": "input"}],
                                 "animated": [True]}
                tell("executed", {"node": node, "display_node": node, "output": outputs[node]}, keep=False)
            if class_ == "KSampler":
                for step in range(1, 4):
                    tell("progress", {"value": step, "max": 3, "node": node}, keep=False)
                    self._progress(id_, states, node, step, "running", 3)
                    if (socket := self.sockets.get(str(extra.get("client_id")))) is not None:
                        socket.send(b"\0\0\0\1\0\0\0\1" + b"\xff\xd8 a preview")
            if class_.startswith(("Save", "Preview")):
                saved = self._save(class_, given, graph)
                if saved:
                    outputs[node] = self.outputs[keys[node]] = saved
                    tell("executed", {"node": node, "display_node": node, "output": saved}, keep=False)
            else:
                done[node] = self.cache[keys[node]] = run(class_, given, self._picture)
            self._progress(id_, states, node, 1.0, "finished")
        return "success"

    def _progress(self, id_: str, states: dict[str, Any], node: str, value: float, state: str,
                  most: float = 1.0) -> None:
        states[node] = {"value": value, "max": most, "state": state, "node_id": node, "prompt_id": id_,
                        "display_node_id": node, "parent_node_id": None, "real_node_id": node}
        sid = self.running[3].get("client_id") if self.newer and self.running else None
        self._send("progress_state", {"prompt_id": id_, "nodes": states}, sid)  # older ones tell everybody (trap 8)

    def _picture(self, name: str) -> Image.Image:
        folder, _, file = name.rpartition("/")
        return Image.open(BytesIO(self.files["input", folder, file])).convert("RGB")

    def _save(self, class_: str, given: dict[str, Any], graph: dict[str, Any]) -> dict[str, Any]:
        if class_ == "SaveImageWebsocket":
            return {}  # trap 12
        kind = "temp" if class_ == "PreviewImage" else "output"
        folder, _, prefix = given.get("filename_prefix", "preview").rpartition("/")
        taken = [int(found[1]) for one, where, name in self.files if one == kind and where == folder
                 and (found := re.fullmatch(re.escape(prefix) + r"_(\d+)_\.\w+", name))]
        name = f"{prefix}_{max(taken, default=0) + 1:05d}_.png"
        if class_ == "SaveVideo":
            name = name.replace(".png", ".webm" if given["format"] == "webm" else ".mp4")
            self.files[kind, folder, name] = b"\0\0\0\x18ftypmp42" + bytes(64)
            return {"images": [{"filename": name, "subfolder": folder, "type": kind}], "animated": [True]}
        if class_ == "SaveText":
            name = name.replace(".png", f".{given['format']}")
            self.files[kind, folder, name] = given["text"].encode()
            return {"text": [given["text"]], "files": [{"filename": name, "subfolder": folder, "type": kind}]}
        self.files[kind, folder, name] = png(given["images"], {"prompt": json.dumps(graph)})  # trap 14
        return {"images": [{"filename": name, "subfolder": folder, "type": kind}]}
