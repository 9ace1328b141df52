"""The IPTC digital source types: how media came to be, in the words that C2PA and platforms ask for.

Source: http://cv.iptc.org/newscodes/digitalsourcetype/, release of 2024-10-23 (IPTC NewsCodes, CC BY 4.0).
"""

from __future__ import annotations

from typing import Final

from domain.errors import Invalid, Remedy

SCHEME: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"

TERMS: Final = frozenset({
    "digitalCapture", "computationalCapture", "negativeFilm", "positiveFilm", "print", "humanEdits",
    "algorithmicallyEnhanced", "digitalCreation", "dataDrivenMedia", "trainedAlgorithmicMedia", "algorithmicMedia",
    "screenCapture", "virtualRecording", "composite", "compositeCapture", "compositeSynthetic",
    "compositeWithTrainedAlgorithmicMedia",
})
"""Terms that may be used today."""

RETIRED: Final = frozenset({"minorHumanEdits", "softwareImage", "digitalArt"})
"""Terms that stand in older files and are no longer to be written."""

TRAINED: Final = frozenset({"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic"})
"""Terms that say that a trained model had a part in it."""


def address(term: str) -> str:
    """The address of a term; raises ``Invalid`` for one that may not be used. Signing libraries take any text."""
    if term not in TERMS:
        raise Invalid(
            f"{term[:60]!r} is no digital source type of the IPTC that may be used.", error="unknown_source_type",
            remediation=[Remedy("Use one of " + ", ".join(sorted(TERMS)) + ".", "choose_source_type")],
        )
    return SCHEME + term


def term(address: str) -> str:
    """The term in an address, also a retired one; empty for anything else."""
    found = address.removeprefix(SCHEME).removeprefix(SCHEME.replace("http:", "https:"))
    return found if found in TERMS | RETIRED else ""
