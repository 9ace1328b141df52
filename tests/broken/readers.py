"""Every reader of files, with valid files of its kind, and the errors that it may raise.

A reader is called as its callers call it, and what it gives out is put into the form in which it is kept or shown: half
a surrogate pair that comes through a reader is found here and not in the log.
"""

from __future__ import annotations

import asyncio
import copy
import io
import json
import pickle
import struct
import wave
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from engines.comfy_documents import edited, painted, plain
from engines.comfy_nodes import info, specs
from fastapi import Request
from intake_files import HEADER, V1, V2, V3, chat, chunk, line, packed, picture, text
from model_server import safetensors, torch_archive
from PIL import Image, PngImagePlugin
from signed_files import made, parent, signed
from signed_files import picture as noise

from adapters.c2pa import reading
from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.keys import KeyFolder
from adapters.engines.local_comfy.editor import classes_of, graph_of, saved_by_editor
from adapters.engines.local_comfy.importing import document_of, imported, plain_graph
from adapters.engines.local_comfy.workflows import NotAWorkflow, built_in, read_workflow
from adapters.files.folder import read_json
from adapters.files.vault import FileVault
from adapters.memory.log import MemoryLog
from commands.story.character import ImportCharacter
from commands.story.scene import CreateScene
from domain.errors import Invalid, Refused, Unavailable
from domain.exchange.renpy.package import PROVENANCE
from domain.ports import Recorded, Stream
from domain.ports.engines import EngineError
from domain.ports.workflows import Taking
from domain.story.play import story
from domain.story.playtest import golden
from gateways.http import uploads
from gateways.http.multipart import read_form
from gateways.http.problems import encode
from projections.studio.provenance import ASSET_MANIFEST, PROJECT_MANIFEST
from services import importing_assets, signing
from services.access import TokenBook
from services.exports.folder import standing
from services.generation import artifacts
from services.intake import cards, chats, importing
from services.keeping_assets import AssetFacts, plain_name
from services.media import child
from services.media.detection import detect
from services.media.stripping import Unstrippable, stripped
from services.models.judging import NotThat, judged
from services.playtest import golden_files
from services.provenance import verify_manifest
from services.sealing import Checkpoint
from services.settings import Settings
from services.transfer import import_log
from services.wire import event_line

Read = Callable[[bytes, Path], object]
Valid = Callable[[Path], list[bytes]]


class Reader(NamedTuple):
    """``read(data, folder)`` with the errors that it declares; ``valid(folder)`` makes files that it takes."""

    name: str
    frame: str
    valid: Valid
    read: Read
    declared: tuple[type[Exception], ...] = ()


def _texts(*found: Any) -> Valid:
    return lambda folder: [one if isinstance(one, bytes) else json.dumps(one).encode() for one in found]


# --- stories ----------------------------------------------------------------------------------------------------------


def _card(data: bytes, folder: Path) -> None:
    card = cards.read_card(data)
    command = ImportCharacter(
        character_id="one", name=card.name, description=card.description, tags=card.tags, spec=card.spec,
        card=card.card, source={"file": "x", "sha256": "0" * 64},
    )
    if card.greetings:
        CreateScene.model_validate(importing._greetings(card, "one", "one-greetings"))
    orjson.dumps([command.model_dump(mode="json"), card.warnings])


def _chat(data: bytes, folder: Path) -> None:
    found = chats.read_chat(data, scene_id="one", title="One")
    orjson.dumps([CreateScene.model_validate(found.document).model_dump(mode="json"), found.warnings, found.speakers])


def _cards(folder: Path) -> list[bytes]:
    squeezed = chunk(b"zTXt", b"chara\0\0" + zlib.compress(packed(V2)))
    international = chunk(b"iTXt", b"ccv3\0\1\0en\0\0" + zlib.compress(packed(V3)))
    return [picture(text("chara", packed(V2)), text("ccv3", packed(V3))), picture(squeezed, international)]


_STORY: Final[dict[str, Any]] = {
    "id": "main", "entries": [{"id": "e", "scene": "home"}], "variables": {}, "default_pov": "mara",
    "scenes": {"home": {"id": "home", "start": "door", "nodes": [
        {"id": "door", "text": "A door.", "choices": [
            {"id": "leave", "label": "Leave", "target": "end", "actions": [{"type": "set", "key": "a", "value": 1}]},
            {"id": "stay", "label": "Stay", "target": "door"}]},
        {"id": "end", "text": "Out.", "end": True}]}},
}


def _golden(data: bytes, folder: Path) -> None:
    (folder / "one.json").write_bytes(data)
    for name, told in golden_files.read(folder).items():
        before = golden.read(told, name)
        before["max_steps"] = min(before["max_steps"], 50)
        json.dumps(golden.compared(story(_STORY), before), ensure_ascii=False).encode()


def _goldens(folder: Path) -> list[bytes]:
    decisions = [{"scene": "home", "node": "door", "choice": "leave", "by": "menu"}]
    return [json.dumps(golden.golden(story(_STORY), "home", "mara", 7, decisions, dice=False, steps=50)).encode()]


# --- workflows --------------------------------------------------------------------------------------------------------

_KNOWN: Final = {name: info(name, spec) for name, spec in specs({"checkpoints": ["dreamy.safetensors"]}).items()}


def _workflow(data: bytes, folder: Path) -> None:
    document = document_of(data)
    if saved_by_editor(document):
        known: Any = {name: _KNOWN.get(name) for name in classes_of(document)}
        graph = graph_of(document, known)
    else:
        graph, known = plain_graph(document), _KNOWN
    found = imported(copy.deepcopy(graph), Taking("mine", "Mine"), known)
    orjson.dumps([found.workflow.model_dump(mode="json"), found.notes])
    imported(graph, Taking("mine", "Mine"), {})


def _pictured(folder: Path) -> list[bytes]:
    out = []
    for graph in (painted(), edited()):
        told, file = PngImagePlugin.PngInfo(), io.BytesIO()
        told.add_text("prompt", json.dumps(graph))
        told.add_text("workflow", json.dumps(graph), zip=True)
        Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=told)
        out.append(file.getvalue())
    return out


def _stored(folder: Path) -> list[bytes]:
    return [orjson.dumps(one.model_dump(mode="json", by_alias=True)) for one in built_in()[:3]]


# --- media ------------------------------------------------------------------------------------------------------------


@cache
def _media(media_type: str, folder: Path) -> bytes:
    return made(folder, media_type).read_bytes()


def _wav(width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writing:
        writing.setparams((2, width, 8000, 0, "NONE", ""))
        writing.writeframes(bytes(range(256)) * 8 * width)
    return file.getvalue()


def _detected(data: bytes, folder: Path) -> None:
    (folder / "file").write_bytes(data)
    orjson.dumps(detect(folder / "file")._asdict())


def _drawings(folder: Path) -> list[bytes]:
    return [b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg"><a href="x">'
            b'<path onload = "x" style="fill:url( #a )"/></a></svg>', b"<!DOCTYPE html><html><script>1</script></html>",
            b'{"a": [1, 2, {"b": null}]}', "\ufefftext".encode("utf-16"), b"ID3\4\0\0\0\0\0\x0afLaC" + b"\0" * 40,
            noise(), _wav(), b"PK\3\4" + b"\0" * 60, b"%PDF-1.7\n", b"\0\0\0\x18ftypmp42" + b"\0" * 40]


def _rendered(media_type: str) -> Read:
    def read(data: bytes, folder: Path) -> None:
        place, out = folder / "file", io.BytesIO()
        place.write_bytes(data)
        child.answer({"path": str(place), "media_type": media_type}, out)
        json.loads(out.getvalue()[4 : 4 + int.from_bytes(out.getvalue()[:4], "big")])

    return read


def _stripping(media_type: str) -> Read:
    def read(data: bytes, folder: Path) -> None:
        found = stripped(data, media_type)
        orjson.dumps(found.removed)
        assert len(found.data) <= len(data) + 64, "what is taken out makes nothing larger"

    return read


def _whole(data: bytes, folder: Path) -> None:
    (folder / "file").write_bytes(data)
    artifacts._whole_boxes(folder / "file", len(data))


def _animated(folder: Path) -> list[bytes]:
    out = []
    frames = [Image.new("P", (30, 20), number) for number in range(3)]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        file = io.BytesIO()
        first, *others = (one.convert("RGB") for one in frames)
        first.save(file, kind, save_all=True, append_images=others)
        out.append(file.getvalue())
    return out


# --- models -----------------------------------------------------------------------------------------------------------


def _model(name: str) -> Read:
    def read(data: bytes, folder: Path) -> None:
        try:
            orjson.dumps(judged(io.BytesIO(data), len(data), name, pickle=True).detail)
        except NotThat as error:
            error.fault.model_dump_json()
            raise

    return read


def _heads(folder: Path) -> list[bytes]:
    return [safetensors(300, __metadata__={"format": "pt", "modelspec.title": "A"}), safetensors(0)]


def _pickles(folder: Path) -> list[bytes]:
    told = OrderedDict(weight=[1.5, "x" * 50, {"a": b"b" * 300, "long": 2**300}], other=(None, True, "ü"))
    found = [pickle.dumps(told, protocol=number) for number in (2, 3, 4, 5)]
    return [*found, found[0] + found[0] + b"\0\1\2" * 30]


def _archives(folder: Path) -> list[bytes]:
    inside = pickle.dumps({"a": [1, 2, "x" * 99]}, protocol=2)
    out = [torch_archive(inside)]
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr("modèle/data.pkl", inside * 20)
        out.append(file.getvalue())
    return out


# --- credentials and keys ---------------------------------------------------------------------------------------------


def _credentials(folder: Path) -> OwnCredentials:
    return OwnCredentials(KeyFolder(folder / "keys"), version="1")


def _sidecars(folder: Path) -> list[bytes]:
    file = folder / "song.ogg"
    file.write_bytes(b"OggS" + b"\0" * 60)
    return [signed(_credentials(folder), file, "audio/ogg", name="song.json").read_bytes()]


def _sidecar(data: bytes, folder: Path) -> None:
    (folder / "song.ogg").write_bytes(b"OggS" + b"\0" * 60)
    (folder / "beside.json").write_bytes(data)
    found = _credentials(folder).read(str(folder / "song.ogg"), "audio/ogg", str(folder / "beside.json"))
    encode(signing.shown(found)).decode()


def _store(data: bytes, folder: Path) -> None:
    try:
        store = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(store, dict):
        orjson.dumps(signing.shown(reading.read_store(store)) | {"manifest": None, "assertions": None})


_STORE: Final[dict[str, Any]] = {
    "active_manifest": "urn:a", "manifests": {
        "urn:a": {"title": "A", "claim_generator_info": [{"name": "x", "version": "1"}], "instance_id": "xmp:1",
                  "signature_info": {"issuer": "I", "alg": "Es256"}, "assertions": [
                      {"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.created",
                                                                         "digitalSourceType": "x"}]}},
                      {"label": "org.comfyvn.generation", "data": {"seed": 1}}],
                  "ingredients": [{"title": "p", "relationship": "parentOf", "active_manifest": "urn:b", "label": "one",
                                   "instance_id": "urn:comfyvn:asset:0123456789abcdef",
                                   "validation_results": {"activeManifest": {"failure": [{"code": "x"}]}}}]},
        "urn:b": {"title": "B", "ingredients": [{"active_manifest": "urn:a"}], "assertions": []}},
    "validation_results": {"activeManifest": {"success": [{"code": "a"}],
                                              "failure": [{"code": "b", "explanation": "c"}]},
                           "ingredientDeltas": [{"ingredientAssertionURI": "self#jumbf=/c2pa/urn:a/c2pa.assertions/one",
                                                 "validationDeltas": {"failure": [{"code": "d"}]}}]},
}


def _signed(media_type: str) -> Valid:
    def valid(folder: Path) -> list[bytes]:
        ours, file = _credentials(folder), made(folder, media_type)
        once = signed(ours, file, media_type)
        return [once.read_bytes(), signed(ours, file, media_type, parent(once, 1, media_type), name="two").read_bytes()]

    return valid


def _embedded(media_type: str) -> Read:
    def read(data: bytes, folder: Path) -> None:
        (folder / "file").write_bytes(data)
        orjson.dumps(signing.shown(_credentials(folder).read(str(folder / "file"), media_type)))

    return read


def _pem(folder: Path) -> list[bytes]:
    keys = KeyFolder(folder / "keys")
    keys.chain()
    return [(keys.folder / name).read_bytes() for name in ("root.pem", "leaf.pem")]


def _signing(data: bytes, folder: Path) -> None:
    keys = KeyFolder(folder / "broken")
    (keys.folder / "roots").mkdir(parents=True, exist_ok=True)
    for name in ("root.pem", "leaf.pem", "roots/one.pem"):
        place = keys.folder / name
        place.write_bytes(data)
        place.chmod(0o600)
    keys.trouble()
    for work in (keys.roots_pem, keys.chain):
        with suppress(Unavailable):
            work()


# --- the data folder --------------------------------------------------------------------------------------------------


def _vault(folder: Path, passphrase: str | None = None) -> FileVault:
    (folder / "data").mkdir(exist_ok=True)
    return FileVault(folder / "data" / "vault.json", folder / "vault.keys", lambda: passphrase)


def _vaults(folder: Path) -> list[bytes]:
    found = []
    for passphrase in (None, "a long passphrase"):
        vault = _vault(folder, passphrase)
        vault.place.unlink(missing_ok=True)
        vault.put("fal", {"api_key": "k" * 30}, "2026-01-01T00:00:00Z")
        found.append(vault.place.read_bytes())
    return found


def _opening(data: bytes, folder: Path) -> None:
    for passphrase in (None, "a long passphrase"):
        vault = _vault(folder, passphrase)
        vault.place.write_bytes(data)
        vault.state()
        for work in (lambda vault=vault: vault.get("fal"), lambda vault=vault: vault.put("fal", {"a": "b"}, "x")):
            with suppress(Unavailable, Refused):
                work()


def _key_files(folder: Path) -> list[bytes]:
    vault = _vault(folder)
    vault.put("fal", {"api_key": "k" * 30}, "2026-01-01T00:00:00Z")
    return [vault.key_file.read_bytes() + b"# a remark\n", b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=\n"]


def _keyed(data: bytes, folder: Path) -> None:
    vault = _vault(folder)
    vault.key_file.write_bytes(data)
    vault.key_file.chmod(0o600)
    vault.state()
    vault.rotate()


def _settings(data: bytes, folder: Path) -> None:
    (folder / "comfyvn.toml").write_bytes(data)
    Settings.load(data=folder)


def _tokens(data: bytes, folder: Path) -> None:
    book = TokenBook(folder / "tokens.json")
    book.path.write_bytes(data)
    book.list()
    book.check("cvn_" + "x" * 43)
    for one in book.list():
        one.good_at("2026-01-01T00:00:00.000000Z")


def _token_books(folder: Path) -> list[bytes]:
    book = TokenBook(folder / "made.json")
    book.create("one", ["scene:read"], ["demo"], "2099-01-01T00:00:00Z")
    book.create("two", ["*"])
    return [book.path.read_bytes()]


def _small(data: bytes, folder: Path) -> None:
    (folder / "server.json").write_bytes(data)
    read_json(folder / "server.json")


def _statement(data: bytes, folder: Path) -> None:
    found = Checkpoint.of(data)
    assert found is None or found.message


def _export(data: bytes, folder: Path) -> None:
    game = folder / "game"
    (game / PROVENANCE).parent.mkdir(parents=True, exist_ok=True)
    (game / PROVENANCE).write_bytes(data)
    found = standing(game)
    assert found.whole in (True, False)
    assert isinstance(found.edited, tuple)


def _facts(data: bytes, folder: Path) -> None:
    (folder / "art.png").write_bytes(b"x")
    (folder / "art.png.asset.json").write_bytes(data)
    importing_assets._facts(folder / "art.png", AssetFacts(), "art.png")


_FORM: Final = b"""--XX\r
Content-Disposition: form-data; name="tags"\r
\r
a, b\r
--XX\r
Content-Disposition: form-data; name="metadata"\r
\r
{"a": 1}\r
--XX\r
Content-Disposition: form-data; name="file"; filename="../x.png"\r
Content-Type: image/png\r
\r
PNG\r
--XX--\r
"""


def _formed(data: bytes, folder: Path) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    asked = Request({"type": "http", "method": "POST", "path": "/", "query_string": b"",
                     "headers": [(b"content-type", b"multipart/form-data; boundary=XX")]}, receive)
    form = asyncio.run(read_form(asked, folder, 2**22))
    orjson.dumps([uploads._facts(form).model_dump(mode="json"), [plain_name(one.name) for one in form.files]])
    assert all(one.path.parent == folder for one in form.files)


# --- logs and manifests -----------------------------------------------------------------------------------------------


def _log(folder: Path) -> list[bytes]:
    stream = Stream("demo", "main", "scene", "harbour")
    events = [Recorded(number, stream, "SceneCreated", 1, b'{"n":1.0,"t":"\xc3\xbc"}', f"e{number}", number,
                       "2026-01-02T03:04:05.000000Z", "author", f"c{number}", "r", f"c{number}", "")
              for number in range(1, 5)]
    return [b"\n".join(map(event_line, events)) + b"\n", event_line(events[0]._replace(data=b"\n\xff")) + b"\n"]


def _import(data: bytes, folder: Path) -> None:
    log = MemoryLog()
    asyncio.run(import_log(log, io.BytesIO(data)))
    for event in log.events:
        assert event_line(event)


def _manifest(data: bytes, folder: Path) -> None:
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if isinstance(told, dict):
        asyncio.run(verify_manifest(MemoryLog(), told))


_MANIFEST: Final[dict[str, Any]] = {
    "project": "demo", "stream": "vn.demo.-.asset.0123456789abcdef", "version": 1, "position": 1,
    "events": [{"position": 1, "type": "AssetRegistered"}], "sources": [], "seeds": [], "digest": "x",
    "asset": {"uid": "0123456789abcdef", "licence": "", "sha256": "0" * 64, "bytes": 1, "variants": []},
}


def _manifests(folder: Path) -> list[bytes]:
    one = _MANIFEST | {"manifest": ASSET_MANIFEST}
    return [json.dumps(one).encode(), json.dumps({
        "manifest": PROJECT_MANIFEST, "project": "demo", "assets": [one], "position": 1, "licences": [], "seeds": [],
        "unlicensed": [], "digest": "x"}).encode()]


_TOML: Final = b'port = 8001\nlog_level = "info"\nevent_limit = 1048576\n# a remark\nhost = "127.0.0.1"\n'

READERS: Final[dict[str, Reader]] = {one.name: one for one in (
    Reader("card_json", "json", _texts(V1, V2, V3), _card, (Invalid,)),
    Reader("card_png", "png", _cards, _card, (Invalid,)),
    Reader("chat", "lines", _texts(chat(HEADER, line("You", "> a | b"), line("Mira", "Hm.", swipes=["x", "y"]),
                                        line("Mira", "---"), line("", "x", extra={"a": 1}))), _chat, (Invalid,)),
    Reader("golden", "json", _goldens, _golden, (Invalid, Refused)),
    Reader("workflow_json", "json", _texts(painted(), plain(), edited()), _workflow, (NotAWorkflow,)),
    Reader("workflow_png", "png", _pictured, _workflow, (NotAWorkflow,)),
    Reader("workflow_stored", "json", _stored, lambda data, folder: read_workflow(data), (NotAWorkflow,)),
    Reader("detect", "bytes", _drawings, _detected),
    Reader("image", "bytes", _animated, _rendered("image/png")),
    Reader("image_png", "png", lambda folder: [noise()], _rendered("image/png")),
    Reader("image_jpeg", "jpeg", lambda folder: [noise(kind="JPEG")], _rendered("image/jpeg")),
    Reader("image_avif", "boxes", lambda folder: [noise(kind="AVIF")], _rendered("image/avif")),
    Reader("image_webp", "riff", lambda folder: [noise(kind="WEBP")], _rendered("image/webp")),
    Reader("sound", "riff", lambda folder: [_wav(), _wav(1), _wav(4)], _rendered("audio/wav")),
    Reader("film", "boxes", lambda folder: [_media("video/mp4", folder)], _whole, (EngineError,)),
    *(Reader(f"strip_{media_type.partition('/')[2]}_{frame}", frame,
             lambda folder, media_type=media_type: [_media(media_type, folder)], _stripping(media_type),
             (Unstrippable,))
      for media_type, frame in (("image/png", "png"), ("image/jpeg", "jpeg"), ("image/webp", "riff"),
                                ("image/avif", "boxes"), ("audio/wav", "riff"), ("audio/flac", "bytes"),
                                ("audio/mpeg", "bytes"), ("video/mp4", "boxes"))),
    Reader("safetensors", "headed", _heads, _model("x.safetensors"), (NotThat,)),
    Reader("pickle", "bytes", _pickles, _model("x.ckpt"), (NotThat,)),
    Reader("torch", "bytes", _archives, _model("x.pt"), (NotThat,)),
    Reader("onnx", "bytes", _texts(b"\x08\x09" + b"\x3a\x03abc" + b"\x42\x02xy"), _model("x.onnx"), (NotThat,)),
    Reader("gguf", "bytes", _texts(b"GGUF" + struct.pack("<IQQ", 3, 2, 1) + b"\0" * 100), _model("x.gguf"), (NotThat,)),
    Reader("sidecar", "json", _sidecars, _sidecar),
    Reader("c2pa_store", "json", _texts(_STORE), _store),
    *(Reader(f"c2pa_{media_type.partition('/')[2]}", frame, _signed(media_type), _embedded(media_type))
      for media_type, frame in (("image/png", "png"), ("image/jpeg", "jpeg"), ("image/webp", "riff"),
                                ("image/avif", "boxes"), ("audio/wav", "riff"), ("audio/flac", "bytes"),
                                ("audio/mpeg", "bytes"), ("video/mp4", "boxes"))),
    Reader("signing_keys", "bytes", _pem, _signing),
    Reader("vault", "json", _vaults, _opening),
    Reader("vault_keys", "lines", _key_files, _keyed, (Unavailable,)),
    Reader("settings", "lines", _texts(_TOML), _settings, (Invalid,)),
    Reader("tokens", "json", _token_books, _tokens, (Unavailable,)),
    Reader("small_json", "json", _texts({"pid": 1, "address": "http://x"}), _small),
    Reader("checkpoint", "json", _texts({"number": 1, "position": 2, "digest": "aa", "time": "x", "key": "k",
                                         "signature": "s"}), _statement),
    Reader("export", "json", _texts({"schema": "comfyvn.renpy@1", "recipe": "x", "files": {"a": {"sha256": "b"}},
                                     "findings": [{"finding": "missing"}]}), _export),
    Reader("asset_sidecar", "json", _texts({"name": "A", "tags": ["a"], "licence": "MIT", "hash": "sha256:00",
                                            "sources": [{"how": "import"}], "metadata": {"a": 1}}), _facts, (Invalid,)),
    Reader("form", "lines", _texts(_FORM), _formed, (Invalid,)),
    Reader("log", "lines", _log, _import, (Invalid, Refused)),
    Reader("manifest", "json", _manifests, _manifest, (Invalid,)),
)}
