"""What helps when a provider says no to a key, or nothing at all: for a key that is being tried, and for a stored one.

The remedies of faults speak of engines in general: of starting one, of another one. A provider cannot be started, and
what helps depends on whether the key is at hand already, so these are told instead.
"""

from __future__ import annotations

from typing import Final, Literal

from domain.errors import Remedy
from domain.studio.fault import Fault

Doing = Literal["connect", "test"]
"""A key is tried before it is stored, or the stored one is."""

AWAY: Final = frozenset({
    "ENGINE_OFFLINE", "ENGINE_TIMEOUT", "CONNECTION_REFUSED", "CONNECTION_TIMEOUT", "SERVICE_UNAVAILABLE",
})
"""Faults that say nothing of the key: nobody answered."""


def remedies(id_: str, name: str, keys_at: str, why: Fault, doing: Doing) -> list[Remedy]:
    """What helps, the likeliest first. ``keys_at`` is where people get the provider's keys."""
    again = _again(id_, doing)
    helps = _helps(id_, name, keys_at, why, again)
    if doing == "connect" and unanswered(why):
        helps.append(Remedy(
            "Or store the key without asking whether it is good: `verify` false, on the console `--unverified`.",
            "connect_unverified",
        ))
    return helps


def unanswered(why: Fault) -> bool:
    """Whether nothing was said of the key, good or bad, and asking again may help."""
    return why.retryable and not why.code.startswith("AUTH")


def _again(id_: str, doing: Doing) -> str:
    return f"connect again: `comfyvn providers connect {id_}`" if doing == "connect" else (
        f"test again: `comfyvn providers test {id_}`")


def _helps(id_: str, name: str, keys_at: str, why: Fault, again: str) -> list[Remedy]:
    anew = f"`comfyvn providers connect {id_}`"
    match why.code:
        case "AUTH_MISSING":
            return [Remedy(f"Connect {name} with a key of yours: {anew}. Keys are made at {keys_at}.", "add_key")]
        case "AUTH_INVALID":
            return [Remedy(f"Copy the key once more from {keys_at} and give it again: {anew}.", "replace_key")]
        case "AUTH_EXPIRED":
            return [Remedy(f"Make a new key at {keys_at} and give it: {anew}.", "replace_key"),
                    Remedy("Look at this machine's clock: signed keys are refused when it is wrong.", "check_clock")]
        case "AUTH_INSUFFICIENT_PERMISSIONS":
            return [Remedy(f"Widen what the key may do at {keys_at}, then {again}.", "replace_key")]
        case "INSUFFICIENT_FUNDS":
            return [Remedy(f"Top up the account at {name}, then {again}.", "top_up")]
        case "RATE_LIMIT_EXCEEDED":
            seconds = why.retry_after_seconds
            wait = f"Wait {seconds:.0f} seconds" if seconds and seconds >= 1 else "Wait a minute"
            return [Remedy(f"{wait}, then {again}.", "wait")]
        case code if code in AWAY:
            return [Remedy(
                f"Look at this machine's network and proxy, and whether {name} tells of an outage; then {again}.",
                "retry",
            )]
        case _:
            return [Remedy(
                f"{name} answered with something unexpected: wait a little, then {again}.", "retry",
            ), Remedy("If it stays so, look at the details, and tell us.", "copy_details")]

