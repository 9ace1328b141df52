"""Every way of the studio's own presets names a model that its adapter knows, and parameters that it takes."""

from __future__ import annotations

import pytest

from adapters.engines import fal, kling, runware, synclabs
from adapters.engines.local_comfy.choosing import described
from adapters.engines.local_comfy.workflows import built_in as workflows
from adapters.engines.studio_local.recipes import offers
from domain.ports.engines import Offer
from domain.studio.preset_model import Way
from services.generation.abilities import _parameters
from services.generation.library import built_in

OFFERS: dict[str, list[Offer]] = {
    "studio_local": list(offers()),
    "provider_kling": kling.MODELS.offers(), "provider_fal": fal.MODELS.offers(),
    "provider_runware": runware.MODELS.offers(), "provider_synclabs": synclabs.MODELS.offers(),
    "local_comfy": [
        Offer(flow.operation, flow.id, described(flow, {}, ()))  # type: ignore[arg-type]
        for flow in workflows()
    ],
}

NOT_YET = {("video_identity_consistency_v1", "local_comfy"), ("upscale_deflicker_video_v1", "provider_runware"),
           ("ugc_clip_builder_v1", "provider_runware")}
"""Ways that lead somewhere only with a workflow of one's own, or when a service is asked for more than it is now."""

WAYS = [
    pytest.param(found.preset.id, level, way.operation or step.operation, way,
                 id=f"{found.preset.id}-{step.id}-{level}-{way.engine}-{number}")
    for found in built_in().values() for step in found.preset.steps
    for number, way in enumerate(step.ways) for level in found.preset.quality_levels
]


@pytest.mark.parametrize(("preset_id", "level", "operation", "way"), WAYS)
def test_a_way_leads_to_something_that_is_offered(preset_id: str, level: str, operation: str, way: Way) -> None:
    if way.engine not in OFFERS or (preset_id, way.engine) in NOT_YET:
        return
    quality = built_in()[preset_id].preset.quality_levels[level]
    model = way.model.partition(":")[0]
    if model.startswith("{{quality."):
        model = str(quality[model[10:-2]])
    suited = [one for one in OFFERS[way.engine] if one.operation == operation and model in ("", one.model)]
    assert suited, f"{way.engine} has no {model} for {operation}"
    takes, needs = _parameters(suited[0])
    assert takes is not None
    assert set(way.parameters) - {"seed"} <= takes
    assert needs <= set(way.parameters)
