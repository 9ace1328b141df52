"""What the core needs from the outside world, as protocols; adapters implement them, one test suite holds them all."""

from domain.ports.blobs import BlobInfo, Blobs, KeptBlob
from domain.ports.chain import Chain
from domain.ports.events import Commit, Conflict, Log, Proposed, Recorded, Stream
from domain.ports.inboxes import Delivery, Inbox, Inboxes, InboxStatus, Parked
from domain.ports.models import Checkpoint, Fingerprint, Overtaken, Progress, ReadModels

__all__ = [
    "BlobInfo",
    "Blobs",
    "Chain",
    "Checkpoint",
    "Commit",
    "Conflict",
    "Delivery",
    "Fingerprint",
    "Inbox",
    "InboxStatus",
    "Inboxes",
    "KeptBlob",
    "Log",
    "Overtaken",
    "Parked",
    "Progress",
    "Proposed",
    "ReadModels",
    "Recorded",
    "Stream",
]
