"""What a model file is: its type and the folder it belongs to, its name, its licence, and what is risky about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from domain.ids import derived_id

ModelType = Literal[
    "checkpoint", "lora", "vae", "embedding", "controlnet", "upscaler", "diffusion_model", "text_encoder",
    "clip_vision", "style_model", "ipadapter", "motion_model", "face_restorer", "other",
]
"""Kinds of models. ``other`` is for what no engine of ours loads by itself."""

FOLDERS: Final[Mapping[str, str]] = {
    "checkpoint": "checkpoints", "lora": "loras", "vae": "vae", "embedding": "embeddings", "controlnet": "controlnet",
    "upscaler": "upscale_models", "diffusion_model": "diffusion_models", "text_encoder": "text_encoders",
    "clip_vision": "clip_vision", "style_model": "style_models", "ipadapter": "ipadapter",
    "motion_model": "animatediff_models", "face_restorer": "facerestore_models", "other": "other",
}
"""Type -> folder below the models folder, as ComfyUI and its extensions call them."""

SAFE_FORMATS: Final = frozenset({".safetensors", ".sft", ".gguf", ".onnx"})
PICKLE_FORMATS: Final = frozenset({".ckpt", ".pt", ".pth", ".bin"})
"""Formats that are pickles: whoever loads one runs whatever it says."""

FORMATS: Final = SAFE_FORMATS | PICKLE_FORMATS

PERMISSIVE: Final = frozenset({
    "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "unlicense", "isc", "0bsd", "zlib", "cc-by-4.0",
})
"""Licences (SPDX) that allow any use, so that nothing has to be accepted before a download."""

_SPELT: Final[Mapping[str, str]] = {
    "apache 2.0": "Apache-2.0", "apache 2": "Apache-2.0", "apache2": "Apache-2.0", "apache-2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "cc0": "CC0-1.0", "bsd": "BSD-3-Clause", "bsd-3": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause", "bsd-2": "BSD-2-Clause", "mit license": "MIT", "cc-by": "CC-BY-4.0",
} | {name: spelt for spelt in ("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "Unlicense", "ISC",
                               "0BSD", "Zlib", "CC-BY-4.0") for name in (spelt.lower(),)}
_UNKNOWN: Final = frozenset({"unknown", "unclear", "none", "n/a", "noassertion", "?", "-", "other"})

UNKNOWN: Final = "Unknown"

Risk = Literal["license_unknown", "license_terms", "checksum_missing", "pickle"]
"""What has to be acknowledged: nobody knows the licence; it has terms of its own; nothing says which bytes are the
right ones; loading the file runs what is in it."""

RISKS: Final[tuple[Risk, ...]] = get_args(Risk)

GATED: Final = frozenset({"license_unknown", "checksum_missing"})
"""Risks that are acknowledged before an entry stands in the catalogue at all; the others before it is downloaded."""

FILENAME_BYTES: Final = 200
URL_LIMIT: Final = 4096
SIZE_LIMIT: Final = 2**43

_SECRET_PARAMETERS: Final = re.compile(
    r"(?i)(^|[-_.])(token|key|apikey|secret|signature|sig|password|passwd|auth|authorization|credential)s?$"
)
_RESERVED: Final = frozenset({
    "con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10)),
})
_TURNING: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that make a name read otherwise than it is."""


def filename(text: str) -> str:
    """The name when a file may have it on any system, and is of a format that models have; else ``ValueError``."""
    if text != text.strip() or not text or text.startswith("."):
        raise ValueError("must be a file's name that begins with no dot and no blank")
    if any(letter in '<>:"/\\|?*' or ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in text):
        raise ValueError("must be a file's name alone: no folder, and none of < > : \" / \\ | ? *")
    if any("\ud800" <= letter <= "\udfff" or letter in _TURNING for letter in text):
        raise ValueError("must not hold characters that hide what a name ends with")
    if len(text.encode()) > FILENAME_BYTES:
        raise ValueError(f"must have at most {FILENAME_BYTES} bytes")
    if text.partition(".")[0].rstrip().lower() in _RESERVED:
        raise ValueError("is a name that some systems keep for devices")
    if extension(text) not in FORMATS or text.rpartition(".")[0].strip(". ") == "":
        raise ValueError(f"must end with one of {', '.join(sorted(FORMATS))}")
    return text


def url(text: str) -> str:
    """The address when it is one of the web and holds nobody's key; else ``ValueError``."""
    if len(text) > URL_LIMIT or any(ord(letter) <= 32 or ord(letter) >= 127 for letter in text) or "\\" in text:
        raise ValueError("must be an address in ASCII without blanks (others are written %XX)")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("must begin with https:// (or http://) and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user and no password: what is recorded cannot be taken back")
    if any(_SECRET_PARAMETERS.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("holds a key or a signature: leave it away, and connect the hub's key as a provider")
    return text.partition("#")[0]


def licence(text: str) -> str:
    """A licence in its usual spelling (``apache 2.0`` is ``Apache-2.0``); whatever says nothing is ``Unknown``."""
    plain = " ".join(text.split())
    if not plain or plain.lower() in _UNKNOWN:
        return UNKNOWN
    return _SPELT.get(plain.lower(), plain)


def extension(name: str) -> str:
    """``.safetensors`` of ``Some.Name.SafeTensors``."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if stem and dot else ""


def slug(name: str) -> str:
    """The id of a custom entry that was given none: ``custom-`` and its name, or a digest of a name without letters."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-")
    return f"custom-{plain or derived_id('model', name, length=12)}"


def _once(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


def _plain(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" or (ord(letter) < 32 and letter not in "\n\t") for letter in text):
        raise ValueError("must be plain text")
    return text


Filename = Annotated[str, Field(min_length=1, max_length=FILENAME_BYTES), AfterValidator(filename)]
Url = Annotated[str, Field(min_length=8, max_length=URL_LIMIT), AfterValidator(url)]
WebPage = Annotated[str, Field(max_length=URL_LIMIT), AfterValidator(lambda text: url(text) if text else "")]
Licence = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain), AfterValidator(licence)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Words = Annotated[str, Field(max_length=1000), AfterValidator(_plain)]
Tag = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_plain)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=30), AfterValidator(_once)]
EngineIds = Annotated[
    tuple[Annotated[str, Field(pattern="^[a-z0-9_]{1,64}$")], ...], Field(max_length=20), AfterValidator(_once)
]
Size = Annotated[int, Field(ge=1, le=SIZE_LIMIT)]
