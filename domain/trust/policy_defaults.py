"""The notice that every project acknowledges, the facts that are understood, and the rules that always hold."""

from __future__ import annotations

from typing import Final

from domain.trust.policy_rules import Condition, Fact, Level, Rule, RuleRemedy

NOTICE: Final = "v1"
"""Version of the notice in force; an acknowledgement of another one does not count."""

NOTICE_TEXT: Final = (
    "You are responsible for what you import, generate, export and publish with this studio: for the rights to every "
    "picture, sound, voice and text, for the consent of every person shown or imitated, for the age ratings that your "
    "platforms ask for, and for saying which parts were generated. The studio checks what it is told and records what "
    "it finds; it gives no legal advice, and an allowed action is not a proof that it is lawful."
)

FACTS: Final[dict[str, str]] = {
    "licence": "text: SPDX identifier or name of the licence",
    "licence_forbids": "texts: actions that the licence forbids, such as publish or export.web",
    "commercial": "yes or no: whether money is made with the result",
    "origin": "text: where it comes from",
    "nsfw": "yes or no: not safe for work",
    "nsfw_acknowledged": "yes or no: whether adult content was acknowledged for this action",
    "rating": "text: E, T, M or Adult",
    "mode": "text: sfw (also when nothing is said), warn or unrestricted",
    "generated": "yes or no: made by a model",
    "disclosed": "yes or no: whether it is disclosed that it was generated",
    "remote": "yes or no: whether data leave this machine",
    "consent": "yes or no: whether the person concerned has consented",
    "face_reference": "yes or no: whether a real person's face or voice is imitated",
    "terms_acknowledged": "yes or no: whether the source's terms were acknowledged",
}
"""Facts that are understood beside those that a project's own rules look at; others are refused by name."""

TRUE: Final[tuple[Fact, ...]] = (True,)
RISKY: Final[tuple[Fact, ...]] = ("M", "Adult")
UNKNOWN: Final[tuple[Fact, ...]] = ("unknown", "none", "n/a", "?")
NON_COMMERCIAL: Final[tuple[Fact, ...]] = (
    "non-commercial", "noncommercial", "CC-BY-NC", "CC-BY-NC-SA", "CC-BY-NC-ND",
    *(f"CC-BY-NC{part}-{version}" for part in ("", "-SA", "-ND") for version in ("1.0", "2.0", "2.5", "3.0", "4.0")),
)


def _rule(
    rule_id: str, level: Level, actions: tuple[str, ...], about: tuple[str, ...], when: tuple[Condition, ...],
    message: str, remedy: tuple[str, str],
) -> Rule:
    return Rule(
        rule_id=rule_id, level=level, actions=actions, about=about, when=when, message=message,
        remedy=RuleRemedy(text=remedy[0], action=remedy[1]),
    )


def _is(fact: str, *values: Fact) -> Condition:
    return Condition(fact=fact, op="is", values=values)


def _is_not(fact: str, *values: Fact) -> Condition:
    return Condition(fact=fact, op="is_not", values=values)


def _missing(fact: str) -> Condition:
    return Condition(fact=fact, op="missing")


_STATE_LICENCE = ("State the licence of the asset, or leave it out.", "set_licence")
_GO_MILDER = ("Leave it out, or change the mode of the action.", "change_mode")

BUILT_IN: Final = (
    _rule("licence_missing", "block", ("publish",), ("asset",), (_missing("licence"),),
          "An asset without a licence cannot be published.", _STATE_LICENCE),
    _rule("licence_unknown", "block", ("publish",), ("asset",), (_is("licence", *UNKNOWN),),
          "An asset of unknown licence cannot be published.", _STATE_LICENCE),
    _rule("licence_unstated", "warn", ("export",), ("asset",), (_missing("licence"),),
          "An asset without a licence is exported.", _STATE_LICENCE),
    _rule("licence_forbids", "block", ("import", "export", "publish", "generate"), (),
          (Condition(fact="licence_forbids", op="names_action"),),
          "Its licence forbids this.", ("Replace it by something whose licence allows it.", "replace_asset")),
    _rule("licence_non_commercial", "block", ("publish",), ("asset",),
          (_is("licence", *NON_COMMERCIAL), _is("commercial", *TRUE)),
          "Its licence allows no commercial use.",
          ("Replace it, or get a licence for commercial use.", "replace_asset")),
    _rule("nsfw_unacknowledged", "block", ("import", "export", "publish", "generate"), (),
          (_is("nsfw", *TRUE), _is_not("nsfw_acknowledged", *TRUE)),
          "Adult content was not acknowledged.",
          ("Acknowledge it for this action: nsfw_acknowledged.", "acknowledge_nsfw")),
    _rule("rating_above_mode", "block", ("export", "publish", "generate"), (),
          (_is("rating", *RISKY), _is_not("mode", "warn", "unrestricted")),
          "Its rating is above what the safe mode lets through.", _GO_MILDER),
    _rule("rating_risky", "warn", ("export", "publish", "generate"), (),
          (_is("rating", *RISKY), _is("mode", "warn")),
          "It is rated for mature people.", _GO_MILDER),
    _rule("rating_missing", "warn", ("publish",), ("project",), (_missing("rating"),),
          "What is published has no rating.", ("Rate it first.", "set_rating")),
    _rule("origin_missing", "warn", ("import", "publish"), ("asset",), (_missing("origin"),),
          "It is not known where it comes from.", ("State its origin.", "set_origin")),
    _rule("origin_unknown", "warn", ("import", "publish"), ("asset",), (_is("origin", *UNKNOWN),),
          "It is not known where it comes from.", ("State its origin.", "set_origin")),
    _rule("remote_without_consent", "block", ("generate",), ("engine",),
          (_is("remote", *TRUE), _is_not("consent", *TRUE)),
          "Prompts and pictures would leave this machine without consent.",
          ("Consent to the remote engine, or choose a local one.", "consent_to_engine")),
    _rule("imitation_without_consent", "block", ("generate", "publish"), (),
          (_is("face_reference", *TRUE), _is_not("consent", *TRUE)),
          "A real person's face or voice is imitated without consent.",
          ("Record the person's consent, or use no reference.", "record_consent")),
    _rule("source_terms_unacknowledged", "block", ("import",), ("source",),
          (_is("remote", *TRUE), _is_not("terms_acknowledged", *TRUE)),
          "The terms of the source were not acknowledged.",
          ("Read and acknowledge the source's terms.", "acknowledge_terms")),
    _rule("generated_undisclosed", "warn", ("publish",), (),
          (_is("generated", *TRUE), _is_not("disclosed", *TRUE)),
          "It is not disclosed that it was generated.", ("Disclose it where you publish.", "disclose_generated")),
)
"""Rules of every project. A project adds its own; these can neither be taken away nor softened."""
