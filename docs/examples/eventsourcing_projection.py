"""A read model of your own in a few lines: an ordinary `eventsourcing` projection that counts the studio's events.

Run it beside a studio, with the address from `nats/server.json` in its data folder:

    NATS_URL=nats://TOKEN@127.0.0.1:PORT python docs/examples/eventsourcing_projection.py
"""

from collections import Counter

from eventsourcing.application import Application
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

from adapters.nats.studio import StudioEvent


class Studio(Application[str]):
    env = {"PERSISTENCE_MODULE": "adapters.nats.studio"}


class Counts(POPOTrackingRecorder):
    """What the projection shows; a view in a database derives from that database's tracking recorder instead."""

    def __init__(self) -> None:
        super().__init__()
        self.events: Counter[str] = Counter()


class EventsCounted(Projection[Counts]):
    name = "events_counted"

    def process_event(self, event: StudioEvent, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)
        self.view.events[event.type] += 1


def runner(env: dict[str, str] | None = None) -> ProjectionRunner[Studio, Counts]:
    """Starts counting, from the first event on."""
    return ProjectionRunner(application_class=Studio, projection_class=EventsCounted, view_class=Counts, env=env)


if __name__ == "__main__":
    with runner() as running:
        newest = running.app.recorder.max_notification_id()
        running.wait(newest, timeout=60)
        for name, count in running.projection.view.events.most_common():
            print(f"{count:8}  {name}")  # noqa: T201
