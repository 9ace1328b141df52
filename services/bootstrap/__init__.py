"""The root: the only place that knows which adapter stands behind which port, and the order of opening and closing."""

from services.bootstrap.background import Background
from services.bootstrap.connecting import reach_models, reach_runner, survey
from services.bootstrap.log import Reached, reach_log
from services.bootstrap.opening import Opened, open_everything, open_studio
from services.bootstrap.ports import (
    blob_place,
    database_url,
    is_shared,
    look_at_signing_keys,
    reach_blobs,
    reach_chain,
    reach_credentials,
    reach_engines,
    reach_model_files,
    reach_tokens,
    reach_vault,
)

__all__ = [
    "Background",
    "Opened",
    "Reached",
    "blob_place",
    "database_url",
    "is_shared",
    "look_at_signing_keys",
    "open_everything",
    "open_studio",
    "reach_blobs",
    "reach_chain",
    "reach_credentials",
    "reach_engines",
    "reach_log",
    "reach_model_files",
    "reach_models",
    "reach_runner",
    "reach_tokens",
    "reach_vault",
    "survey",
]
