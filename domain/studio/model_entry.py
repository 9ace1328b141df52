"""An entry of the model catalogue: which file it is, under which licence, from where, and what is risky about it."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from domain.studio.model_values import (
    FOLDERS,
    PERMISSIVE,
    PICKLE_FORMATS,
    UNKNOWN,
    EngineIds,
    Filename,
    Licence,
    ModelType,
    Name,
    Risk,
    Sha256,
    Size,
    Tags,
    Url,
    WebPage,
    Words,
    extension,
)
from domain.values import Json, Value


class Described(Value):
    """What people say about a model file. ``size_bytes`` and ``sha256`` are those of the file at ``url``."""

    name: Name
    type: ModelType
    url: Url
    filename: Filename
    license: Licence
    license_url: WebPage = ""
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of the file, 64 hexadecimal digits.")
    size_bytes: Size | None = None
    source: Words = Field(default="", description="Who publishes it: a page or a name.")
    tags: Tags = ()
    notes: Words | None = None
    recommended_use: Words = ""
    hardware_notes: Words = ""
    engines: EngineIds = ("local_comfy",)


class Entry(Described):
    """An entry as it is recorded."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @property
    def folder(self) -> str:
        """The folder below the models folder."""
        return FOLDERS[self.type]

    @property
    def path(self) -> str:
        """Where the file belongs, below the models folder."""
        return f"{self.folder}/{self.filename}"

    @property
    def is_pickle(self) -> bool:
        return extension(self.filename) in PICKLE_FORMATS

    def risks(self) -> tuple[Risk, ...]:
        """What somebody has to acknowledge before the file is taken."""
        found: list[Risk] = []
        if self.license == UNKNOWN:
            found.append("license_unknown")
        elif self.license.lower() not in PERMISSIVE:
            found.append("license_terms")
        if self.sha256 is None:
            found.append("checksum_missing")
        if self.is_pickle:
            found.append("pickle")
        return tuple(found)

    def basis(self, risk: Risk) -> str:
        """What an acknowledgement of a risk was about: when that changes, it has to be acknowledged anew."""
        if risk in ("license_unknown", "license_terms"):
            return f"{self.license}\n{self.license_url}"
        return f"{self.url}\n{self.filename}\n{self.sha256 or ''}"

    def warnings(self) -> list[str]:
        """What people should know about an entry, in sentences."""
        said = [SAID[risk] for risk in self.risks()]
        if self.url.startswith("http:"):
            said.append("The address is not https: it is downloaded only when its origin is set in model_origins.")
        if self.size_bytes is None:
            said.append("No size is stated: whether the disk has room is known when the download begins.")
        return said

    def told(self) -> dict[str, Json]:
        """The entry as JSON."""
        found: dict[str, Json] = self.model_dump(mode="json")
        size = self.size_bytes
        return found | {
            "size_mb": None if size is None else round(size / 2**20, 1), "path": self.path,
            "format": extension(self.filename).removeprefix("."), "risks": list(self.risks()),
        }


SAID: dict[Risk, str] = {
    "license_unknown": "Nobody has stated the licence: find out whether you may use it.",
    "license_terms": "The licence has terms of its own: read them before you use it.",
    "checksum_missing": "There is no checksum, so nobody can tell whether the right file arrived: at your own risk.",
    "pickle": "Files of this format run code when they are loaded: take a .safetensors where there is one.",
}
"""A sentence for each risk."""
