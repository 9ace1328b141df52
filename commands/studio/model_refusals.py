"""What models refuse, in words that say what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from domain.errors import Invalid, Refused, Remedy
from domain.studio.fault import CODES, Fault, fault
from domain.studio.model_entry import SAID, Entry
from domain.studio.model_values import Risk

CODE_OF: dict[Risk, str] = {
    "license_unknown": "LICENSE_UNKNOWN", "license_terms": "LICENSE_TERMS", "checksum_missing": "CHECKSUM_MISSING",
    "pickle": "PICKLE_REFUSED",
}
"""The fault that stands for each risk."""


def unacknowledged(model_id: str, entry: Entry, missing: Sequence[Risk]) -> Refused:
    """Somebody has to say that they know what is risky; named after the first risk, and all of them in the detail."""
    code = CODE_OF[missing[0]]
    names = ", ".join(f"`{risk}`" for risk in missing)
    return Refused(
        " ".join(SAID[risk] for risk in missing), error=code,
        remediation=[
            Remedy(CODES[code].text, CODES[code].action),
            Remedy(f"To go on knowing that, name {names} in `acknowledge`: it is recorded with your name.",
                   "acknowledge"),
        ],
        detail={
            "model": model_id, "acknowledge": list(missing), "license": entry.license,
            "license_url": entry.license_url, "risks": [{"risk": one, "code": CODE_OF[one], "text": SAID[one]}
                                                        for one in missing],
        },
    )


def another_entry(model_id: str) -> Refused:
    """Another entry has the id."""
    return Refused(
        f"There is another entry {model_id} already.", error="model_exists",
        remediation=[Remedy("Change that one, or give this one another name or id.", "change_model")],
        detail={"model": model_id},
    )


def curated(model_id: str) -> Refused:
    """A curated entry is as it is."""
    return Refused(
        f"{model_id} is a curated entry, which nobody changes here.", error="curated_model",
        remediation=[Remedy("Add an entry of your own.", "add_model")], detail={"model": model_id},
    )


def underway(model_id: str) -> Refused:
    """It is being downloaded."""
    return Refused(
        f"{model_id} is being downloaded.", error="download_underway",
        remediation=[Remedy("Wait until it is there, or cancel the download first.", "cancel_download")],
        detail={"model": model_id},
    )


def nothing_to_cancel(model_id: str, status: str) -> Refused:
    """No download is underway."""
    how = "was never asked for" if status == "idle" else f"is {status} already"
    return Refused(
        f"The download of {model_id} {how}.", error=f"download_{status}",
        remediation=[Remedy("There is nothing to cancel.", "show_model")],
        detail={"model": model_id, "status": status},
    )


def over(model_id: str, status: str) -> Refused:
    """A worker speaks of a download that is over."""
    return Refused(
        f"That download of {model_id} is over.", error="download_over",
        remediation=[Remedy("Ask for another one.", "download_model")], detail={"model": model_id, "status": status},
    )


def unknown_risk(model_id: str, risk: str, known: Sequence[str]) -> Invalid:
    """What is acknowledged is no risk of this model."""
    what = f"its risks are {', '.join(known)}" if known else "nothing about it has to be acknowledged"
    return Invalid(
        f"{risk} is nothing that {model_id} needs: {what}.", error="not_a_risk",
        remediation=[Remedy("Leave it away.", "correct_input")], detail={"model": model_id, "risks": list(known)},
    )


def unfit_change(name: str) -> Invalid:
    """An entry cannot be without that."""
    return Invalid(
        f"An entry cannot be without {name}.", error="invalid_fields",
        remediation=[Remedy("Give it another value, or leave it away to keep what it has.", "correct_input")],
        detail={"fields": [{"path": name, "message": "this cannot be taken away"}]},
    )


def workers_ended(attempts: int) -> Fault:
    """Too many workers ended over a download."""
    return fault("DOWNLOAD_FAILED", f"{attempts} workers ended over this download; ask again to go on.")
