"""Faults: why work failed, in one vocabulary for every engine: a code, a sentence, and what to do next.

The codes are those that users of such pipelines know, and a few that durable jobs need. Each says whether trying again
can help and which button would: a text for people and an action for programs.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from pydantic import Field

from domain.bounded_json import BoundedObject
from domain.texts import sayable
from domain.values import Value


class Code(NamedTuple):
    """What a fault code means: may the same thing be tried again, what people should do, and the action's id."""

    retryable: bool
    text: str
    action: str


CODES: Final[dict[str, Code]] = {
    "AUTH_MISSING": Code(False, "Connect the engine: add its key in the setup.", "add_key"),
    "AUTH_INVALID": Code(False, "The engine refuses the key: enter it again.", "replace_key"),
    "AUTH_EXPIRED": Code(True, "The key's time is over: renew it, and check this machine's clock.", "replace_key"),
    "AUTH_INSUFFICIENT_PERMISSIONS": Code(False, "The key may not do this: widen its permissions.", "replace_key"),
    "CONTRACT_MISMATCH": Code(False, "The request does not fit: correct the named fields.", "correct_input"),
    "MISSING_REQUIRED_FIELD": Code(False, "Fill in the fields that are missing.", "correct_input"),
    "INVALID_FIELD_TYPE": Code(False, "Correct the fields that have another type.", "correct_input"),
    "INVALID_FIELD_VALUE": Code(False, "Correct the fields whose value is not possible.", "correct_input"),
    "VALIDATION_ERROR": Code(False, "Correct the input.", "correct_input"),
    "DEPENDENCY_MISSING": Code(False, "Install the model or node that is named.", "install_model"),
    "ENGINE_OFFLINE": Code(True, "Start the engine, then try again.", "start_engine"),
    "ENGINE_TIMEOUT": Code(True, "The engine took too long: try again, or a lower quality.", "retry"),
    "ENGINE_ERROR": Code(True, "The engine failed at this: try again, or another engine.", "pick_other_engine"),
    "SERVICE_UNAVAILABLE": Code(True, "The service is away: try again later.", "retry"),
    "CONNECTION_REFUSED": Code(True, "Nothing answers there: start the engine or correct its address.", "start_engine"),
    "CONNECTION_TIMEOUT": Code(True, "No answer came in time: look at the network, then try again.", "retry"),
    "RATE_LIMIT_EXCEEDED": Code(True, "The engine asks to slow down: wait a moment.", "wait"),
    "INSUFFICIENT_FUNDS": Code(False, "There is not enough credit: top it up, or use a local engine.", "top_up"),
    "BUDGET_EXCEEDED": Code(False, "The budget does not allow it: raise it, wait until it begins anew, or choose a "
                            "cheaper quality or a local engine.", "raise_budget"),
    "SAFETY_FILTER": Code(False, "The engine's safety filter refused this: change the prompt.", "edit_prompt"),
    "CONSENT_MISSING": Code(False, "A face is used: confirm that its owner has agreed.", "give_consent"),
    "POLICY_BLOCKED": Code(False, "The project's policy refuses this: look at its findings.", "open_policy"),
    "LICENSE_UNKNOWN": Code(False, "State the licence, or acknowledge that it is unknown.", "acknowledge"),
    "LICENSE_TERMS": Code(False, "Read the licence, and acknowledge its terms.", "acknowledge"),
    "PICKLE_REFUSED": Code(False, "Files of this format can run code: take a .safetensors, or acknowledge the risk.",
                           "acknowledge"),
    "TARGET_EXISTS": Code(False, "Another file has that name: move it away, or give the entry another filename.",
                          "choose_name"),
    "CHECKSUM_MISSING": Code(False, "State a checksum, or acknowledge that there is none.", "acknowledge"),
    "CHECKSUM_MISMATCH": Code(True, "The bytes are not those that were promised: download again.", "retry"),
    "DOWNLOAD_FAILED": Code(True, "The download broke off: it goes on where it stopped.", "retry"),
    "DOWNLOAD_TIMEOUT": Code(True, "The download took too long: it goes on where it stopped.", "retry"),
    "DOWNLOAD_CANCELLED": Code(True, "The download was cancelled.", "retry"),
    "DISK_FULL": Code(True, "The disk is full: make room, then try again.", "free_disk_space"),
    "INSUFFICIENT_DISK_SPACE": Code(True, "There is not enough room: make room, then try again.", "free_disk_space"),
    "FILE_NOT_FOUND": Code(False, "The file is not there: choose another.", "choose_file"),
    "FILE_REFUSED": Code(False, "The file is damaged or not what it says it is: choose another.", "choose_file"),
    "PERMISSION_DENIED": Code(False, "The folder may not be written: correct its permissions.", "fix_permissions"),
    "JOB_LOST": Code(False, "The engine has forgotten this work: run it again.", "retry"),
    "OUTCOME_UNKNOWN": Code(False, "Nobody can say whether the engine took this paid work: look there, then say so.",
                            "resolve_uncertain"),
    "QUARANTINED": Code(False, "This job ended its workers several times: change it before it runs again.", "edit_job"),
    "DEADLINE_EXCEEDED": Code(False, "The job's time is over: run it again with more.", "retry"),
    "CANCELLED": Code(False, "It was cancelled.", "retry"),
    "UNKNOWN_ERROR": Code(False, "Look at the details, and tell us.", "copy_details"),
}
"""Every code, by name."""


class Fault(Value):
    """Why something failed. ``detail`` is safe to show and to copy: redacted before it comes here."""

    code: str
    message: Annotated[str, Field(max_length=2000)]
    detail: BoundedObject = {}
    retry_after_seconds: float | None = None

    @property
    def meaning(self) -> Code:
        """What the code means; a code of a newer release means what ``UNKNOWN_ERROR`` does."""
        return CODES.get(self.code, CODES["UNKNOWN_ERROR"])

    @property
    def retryable(self) -> bool:
        return self.meaning.retryable

    def remediation(self) -> list[dict[str, str]]:
        """``[{"text", "action"}]``, as problems carry it."""
        return [{"text": self.meaning.text, "action": self.meaning.action}]


def fault(code: str, message: str, **detail: object) -> Fault:
    """A fault of a known code. What engines and files say is quoted in it, so it is made sayable first."""
    assert code in CODES, f"{code} is not a fault code"
    return Fault(code=code, message=sayable(message[:2000]), detail=sayable(detail))
