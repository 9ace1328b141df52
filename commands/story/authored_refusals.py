"""What asking for an authored document can be refused for, in one place."""

from __future__ import annotations

from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.story.authored import Authored, Collection, Deleted, State, Unwritten, Written


def opened(declared: Authored, id_: str, state: State) -> Written:
    """The document, if it can be edited; raises ``NotFound`` or ``Refused``."""
    if isinstance(state, Unwritten):
        noun = declared.category
        raise NotFound(
            f"There is no {noun} {id_} on this worldline.",
            error=f"unknown_{noun}",
            remediation=[Remedy("Create it, or list what there is on the worldline.", f"list_{noun}s")],
            detail={noun: id_},
        )
    if isinstance(state, Deleted):
        raise is_deleted(declared, id_)
    return state


def is_deleted(declared: Authored, id_: str) -> Refused:
    """The document exists and is out of sight."""
    noun = declared.category
    return Refused(
        f"{noun.capitalize()} {id_} was deleted.",
        error=f"{noun}_deleted",
        remediation=[Remedy("Restore it first: nothing of it is lost.", f"restore_{noun}")],
        detail={noun: id_},
    )


def already_there(declared: Authored, id_: str) -> Refused:
    """Another document has that id."""
    noun = declared.category
    return Refused(
        f"{noun.capitalize()} {id_} exists already.",
        error=f"{noun}_exists",
        remediation=[Remedy("Choose another id.", "rename"), Remedy("Replace it as a whole.", f"replace_{noun}")],
        detail={noun: id_},
    )


def other_document(declared: Authored, id_: str, said: str) -> Invalid:
    """A document was sent to another one's address."""
    noun = declared.category
    return Invalid(
        f"The document is {noun} {said}, not {id_}.",
        error=f"other_{noun}",
        remediation=[Remedy("Send the document to its own address, or leave `id` away.", "correct_id")],
        detail={noun: id_, "id": said},
    )


def unknown_item(declared: Authored, collection: Collection, id_: str, key: str) -> NotFound:
    """No item of that collection has that key."""
    noun = declared.category
    return NotFound(
        f"{noun.capitalize()} {id_} has no {collection.noun} {key!r}.",
        error=f"unknown_{collection.noun}",
        remediation=[Remedy(f"Look at the {noun} for what it holds.", f"show_{noun}")],
        detail={noun: id_, collection.noun: key},
    )


def item_exists(declared: Authored, collection: Collection, id_: str, key: str) -> Refused:
    """Another item of that collection has that key."""
    noun = declared.category
    return Refused(
        f"{noun.capitalize()} {id_} has a {collection.noun} {key!r} already.",
        error=f"{collection.noun}_exists",
        remediation=[Remedy("Choose another id, or edit the one that is there.", f"edit_{collection.noun}")],
        detail={noun: id_, collection.noun: key},
    )


def contradicting(message: str, error: str, text: str) -> Invalid:
    """A request that says two things at once."""
    return Invalid(message, error=error, remediation=[Remedy(text, "choose_place")])
