"""The catalogue as people see it: filters, pages, acknowledgements, downloads; and what brings a missing file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from studios import look, project, studio_on

from adapters.engines.local_comfy.catalogue import Missing, missing_fault
from commands.studio.model import AddModel, ChangeModel, RemoveModel
from commands.studio.model_downloads import (
    CancelModelDownload,
    FailModelDownload,
    RequestModelDownload,
    StartModelDownload,
)
from domain.ports.engines import Health
from domain.studio.fault import fault
from domain.studio.model_library import LIBRARY
from projections.studio.model_catalogue import ListModels, ShowModel, list_models, show_model
from services.generation.abilities import Seen
from services.generation.engines import Look
from services.models.supplying import supplier
from services.studio import Asker, Studio

WHO = Asker("mo")
TOLD: dict[str, Any] = {
    "url": "https://models.example/x.safetensors", "license": "MIT", "sha256": "ab" * 32, "size_bytes": 144,
}
NOWHERE = {"installed": False}


async def added(studio: Studio, name: str, **more: Any) -> None:
    told = TOLD | {"name": name, "type": "lora", "filename": f"{name}.safetensors"} | more
    await studio.ask(AddModel.model_validate(told), WHO, project="demo")


def page(studio: Studio, **asked: Any) -> dict[str, Any]:
    with studio.models.reader() as reader:
        return list_models(reader, ListModels.model_validate({"project": "demo", **asked}), lambda entry: NOWHERE)


def ids(studio: Studio, **asked: Any) -> list[str]:
    return [one["id"] for one in page(studio, **asked)["items"]]


def test_the_catalogue_is_filtered_and_paged(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        for number in range(12):
            await added(studio, f"own-{number:02}", license="Apache 2.0" if number % 2 else "MIT",
                        engines=["local_comfy", "studio_local"] if number == 3 else ["local_comfy"],
                        tags=["Night"] if number == 4 else [], notes="lamp light" if number == 5 else None)
        await project(studio)
        own = [f"custom-own-{number:02}" for number in range(12)]
        assert ids(studio, limit=500) == [*sorted(LIBRARY), *own]
        assert ids(studio, origin="custom") == own
        assert ids(studio, origin="curated") == sorted(LIBRARY)
        assert ids(studio, origin="custom", license="apache 2") == own[1::2]
        assert ids(studio, type="vae") == ["flux-vae", "sd-vae-ft-mse", "sdxl-vae-fp16-fix"]
        assert ids(studio, engine="studio_local") == [own[3]]
        assert ids(studio, tag="night") == [own[4]]
        assert ids(studio, q="LAMP") == [own[5]]
        assert ids(studio, installed=True) == []
        walked, cursor = [], ""
        while True:
            found = page(studio, limit=5, cursor=cursor, license="MIT")
            walked += [one["id"] for one in found["items"]]
            if (cursor := found["next"]) is None:
                break
        assert walked == ids(studio, license="MIT", limit=500)

    asyncio.run(scenario())


def test_one_model_shows_what_was_acknowledged_and_how_its_download_stands(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        id_ = "realesrgan-x4plus"

        async def shown(model: str = id_) -> dict[str, Any]:
            await project(studio)
            with studio.models.reader() as reader:
                asked = ShowModel.model_validate({"project": "demo", "model_id": model})
                return show_model(reader, asked, lambda entry: NOWHERE)

        assert (await shown())["to_acknowledge"] == ["pickle"]
        asked = RequestModelDownload(model_id=id_, acknowledge=("pickle",))
        await studio.ask(asked, WHO, project="demo")
        one = await shown()
        assert one["to_acknowledge"] == []
        assert [(known["risk"], known["acknowledged_by"]) for known in one["acknowledged"]] == [("pickle", "mo")]
        assert (one["download"]["status"], one["download"]["progress"]["total"]) == ("waiting", 67_040_989)
        await studio.ask(StartModelDownload(model_id=id_, number=1), WHO, project="demo")
        why = fault("CHECKSUM_MISMATCH", "Other bytes.", expected="a", got="b")
        await studio.ask(FailModelDownload(model_id=id_, number=1, fault=why), WHO, project="demo")
        error = (await shown())["download"]["error"]
        assert (error["code"], error["remediation"][0]["action"]) == ("CHECKSUM_MISMATCH", "retry")
        await studio.ask(RequestModelDownload(model_id=id_), WHO, project="demo")
        await studio.ask(CancelModelDownload(model_id=id_), WHO, project="demo")
        listed = await look(studio, "ListModelDownloads", status="cancelled")
        assert [(row["id"], row["number"]) for row in listed["items"]] == [(id_, 2)]
        await added(studio, "mine")
        await studio.ask(ChangeModel.model_validate({"model_id": "custom-mine", "notes": "x"}), WHO, project="demo")
        own = await look(studio, "ShowCustomModel", model_id="custom-mine")
        assert (own["notes"], own["version"], own["added_by"]) == ("x", 2, "mo")
        await studio.ask(RemoveModel(model_id="custom-mine"), WHO, project="demo")
        assert (await look(studio, "ListCustomModels"))["items"] == []

    asyncio.run(scenario())


def test_a_missing_model_names_the_entry_that_brings_it(tmp_path: Path) -> None:
    told = missing_fault([Missing("model", "ae.safetensors", "vae"), Missing("model", "any", "upscale_models"),
                          Missing("model", "unheard-of.safetensors", "loras")])
    assert "download flux-vae and realesrgan-x4plus" in str(told.detail["hint"])
    assert [one.get("model") for one in told.detail["missing"]] == ["flux-vae", "realesrgan-x4plus", None]  # type: ignore[union-attr]

    async def scenario() -> None:
        studio = studio_on(tmp_path)
        await added(studio, "unheard-of")
        await project(studio)
        find = await supplier(studio, "demo")
        assert find("loras", "unheard-of.safetensors") == "custom-unheard-of"
        assert find("loras", "any *heard*") == "custom-unheard-of"
        assert find("vae", "unheard-of.safetensors") is None
        assert (await supplier(studio, "other"))("loras", "unheard-of.safetensors") is None
        lacks = fault("DEPENDENCY_MISSING", "ComfyUI lacks it.", engine="local_comfy",
                      missing=["loras/unheard-of.safetensors", "node KSampler", "vae/ae.safetensors"])
        (helping,) = Seen({}, {"local_comfy": Look(Health("running"))}, find).helping(lacks)
        assert helping.action == "install_model"
        assert helping.text.endswith("The model catalogue has it: download custom-unheard-of and flux-vae.")

    asyncio.run(scenario())
