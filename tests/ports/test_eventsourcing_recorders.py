"""The test cases that ship with the ``eventsourcing`` library, held against its persistence module on JetStream.

Held on one server: every case of ``eventsourcing.tests.persistence`` for recorders and factories (aggregate,
application, tracking and process recorder, the race of two commits of 1,000 events, the infrastructure factory) with
its optional subscription test, with UUIDs and with text as ids; of ``eventsourcing.tests.application`` both cases; of
``eventsourcing.tests.projection`` the counters view, the aggregate projection and the event-sourced projection.
Held on three nodes: the four recorders, the race and the subscription.

Not held: ``TranscoderTestCase`` (it tests the library's own JSON transcoder, nothing of ours),
``TaggedDecisionCountersProjectionTestCase`` and ``eventsourcing.dcb.tests`` (they need a DCB recorder with tags; this
module offers streams), ``test_performance`` and ``test_concurrent_throughput`` run but measure nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.tests import application, persistence, projection
from eventsourcing.utils import Environment, clear_topic_cache
from fixtures_nats import Cluster, Server

from adapters.nats.recorder import (
    JetStreamAggregateRecorder,
    JetStreamApplicationRecorder,
    JetStreamFactory,
    JetStreamProcessRecorder,
    JetStreamTrackingRecorder,
)
from adapters.nats.recorder_store import as_token, originator_of, originator_token

_MODULE = "adapters.nats.recorder"


class OnServer:
    """Gives a library test case an empty server and recorders on it."""

    url: str
    factory_: JetStreamFactory

    @pytest.fixture(autouse=True)
    def _on_server(self, nats_server: Server) -> Iterator[None]:
        yield from self._with(nats_server)

    def _with(self, server: Server | Cluster) -> Iterator[None]:
        self.url = server.url
        self.factory_ = JetStreamFactory(Environment("Recorders", {"NATS_URL": self.url}))
        yield
        self.factory_.close()


class OnCluster(OnServer):
    """The same on three nodes."""

    @pytest.fixture(autouse=True)
    def _on_server(self, nats_cluster: Cluster) -> Iterator[None]:  # type: ignore[override]
        yield from self._with(nats_cluster)


class TestAggregateRecorder(OnServer, persistence.AggregateRecorderTestCase):
    def create_recorder(self) -> JetStreamAggregateRecorder:
        return JetStreamAggregateRecorder(self.factory_.store("events"))


class TestAggregateRecorderWithText(TestAggregateRecorder):
    def new_originator_id(self) -> str:
        return f"Żółw / {uuid4()} *.>"


class TestApplicationRecorder(OnServer, persistence.ApplicationRecorderTestCase[JetStreamApplicationRecorder]):
    def create_recorder(self) -> JetStreamApplicationRecorder:
        return JetStreamApplicationRecorder(self.factory_.store("events"))

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestApplicationRecorderWithText(TestApplicationRecorder):
    INITIAL_VERSION = 0

    def new_originator_id(self) -> str:
        return f"order-{uuid4()}"


class TestNonInterleaving(OnServer, persistence.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> JetStreamApplicationRecorder:
        return JetStreamApplicationRecorder(self.factory_.store("events"))


class TestTrackingRecorder(OnServer, persistence.TrackingRecorderTestCase):
    def create_recorder(self) -> JetStreamTrackingRecorder:
        return JetStreamTrackingRecorder(self.factory_.store("tracking"))


class TestProcessRecorder(OnServer, persistence.ProcessRecorderTestCase):
    def create_recorder(self) -> JetStreamProcessRecorder:
        return JetStreamProcessRecorder(self.factory_.store("events"))


class TestAggregateRecorderOnCluster(OnCluster, TestAggregateRecorder):
    pass


class TestApplicationRecorderOnCluster(OnCluster, TestApplicationRecorder):
    pass


class TestNonInterleavingOnCluster(OnCluster, TestNonInterleaving):
    pass


class TestTrackingRecorderOnCluster(OnCluster, TestTrackingRecorder):
    pass


class TestProcessRecorderOnCluster(OnCluster, TestProcessRecorder):
    pass


class OwnTracking(JetStreamTrackingRecorder):
    """A view of somebody's own."""


class TestFactory(OnServer, persistence.InfrastructureFactoryTestCase[JetStreamFactory]):
    def setUp(self) -> None:
        self.env = Environment("TestCase", {"PERSISTENCE_MODULE": _MODULE, "NATS_URL": self.url})
        super().setUp()

    def expected_factory_class(self) -> type[JetStreamFactory]:
        return JetStreamFactory

    def expected_aggregate_recorder_class(self) -> type[JetStreamAggregateRecorder]:
        return JetStreamAggregateRecorder

    def expected_application_recorder_class(self) -> type[JetStreamApplicationRecorder]:
        return JetStreamApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[JetStreamTrackingRecorder]:
        return JetStreamTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return OwnTracking

    def expected_process_recorder_class(self) -> type[JetStreamProcessRecorder]:
        return JetStreamProcessRecorder


class ByEnvironment(OnServer):
    """For cases that make their own applications from the environment."""

    @pytest.fixture(autouse=True)
    def _environment(self, _on_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PERSISTENCE_MODULE", _MODULE)
        monkeypatch.setenv("NATS_URL", self.url)
        clear_topic_cache()


class TestExampleApplication(ByEnvironment, application.ExampleApplicationTestCase):
    expected_factory_topic = f"{_MODULE}:JetStreamFactory"


class TestApplication(ByEnvironment, application.ApplicationTestCase):
    pass


class CountersView(JetStreamTrackingRecorder, projection.EventCountersView):
    """Two counters that travel in the message that tracks."""

    def get_created_event_counter(self) -> int:
        return self._counters()[0]

    def get_subsequent_event_counter(self) -> int:
        return self._counters()[1]

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        created, subsequent = self._counters()
        self.insert_tracking_with(tracking, json.dumps([created + 1, subsequent]).encode())

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        created, subsequent = self._counters()
        self.insert_tracking_with(tracking, json.dumps([created, subsequent + 1]).encode())

    def _counters(self) -> list[int]:
        for name in ("upstream", "Application"):
            state = self.tracked_state(name)
            if state is not None:
                counters: list[int] = json.loads(state)
                return counters
        return [0, 0]


class TestCountersView(OnServer, projection.EventCountersViewTestCase):
    def construct_event_counters_view(self) -> CountersView:
        return CountersView(self.factory_.store("tracking"))


class TestProjection(ByEnvironment, projection.AggregateEventCountersProjectionTestCase):
    view_class = CountersView


class TestEventSourcedProjection(ByEnvironment, projection.EventSourcedProjectionTestCase):
    env: ClassVar[dict[str, str]] = {}


# --- what the library's cases do not ask ------------------------------------------------------------------------------


def test_two_applications_on_one_server_do_not_see_each_other(nats_server: Server) -> None:
    class Harbour(Application[UUID]):
        pass

    class Lighthouse(Application[UUID]):
        pass

    env = {"PERSISTENCE_MODULE": _MODULE, "NATS_URL": nats_server.url}
    with Harbour(env) as harbour, Lighthouse(env) as lighthouse:
        harbour.save(Aggregate())
        lighthouse.save(Aggregate(), Aggregate())
        assert harbour.recorder.max_notification_id() == 1
        assert lighthouse.recorder.max_notification_id() == 2


def test_versions_may_come_in_any_order_but_only_once(nats_server: Server) -> None:
    factory = JetStreamFactory(Environment("Order", {"NATS_URL": nats_server.url}))
    recorder = factory.application_recorder()
    id_ = uuid4()
    made = [StoredEvent(id_, version, "topic", b"%d" % version) for version in (5, 3, 4)]
    assert recorder.insert_events(made) == [1, 2, 3]
    assert [one.originator_version for one in recorder.select_events(id_)] == [3, 4, 5]
    assert recorder.insert_events([StoredEvent(id_, 1, "topic", b"1")]) == [4]
    with pytest.raises(IntegrityError):
        recorder.insert_events([StoredEvent(id_, 4, "topic", b"again")])
    factory.close()


def test_ids_are_given_back_in_the_order_of_the_events(nats_server: Server) -> None:
    factory = JetStreamFactory(Environment("Mixed", {"NATS_URL": nats_server.url}))
    recorder = factory.process_recorder()
    one, two = uuid4(), "two"
    made = [StoredEvent(id_, version, "topic", b"") for version in (1, 2) for id_ in (one, two)]
    ids = recorder.insert_events(made, tracking=Tracking("upstream", 7))
    assert ids is not None
    told = {found.id: (found.originator_id, found.originator_version)
            for found in recorder.select_notifications(None, 10)}
    assert [told[id_] for id_ in ids] == [(made_.originator_id, made_.originator_version) for made_ in made]
    assert recorder.max_tracking_id("upstream") == 7
    factory.close()


def test_too_many_events_and_a_missing_address_are_errors_of_the_library(nats_server: Server) -> None:
    factory = JetStreamFactory(Environment("Errors", {"NATS_URL": nats_server.url}))
    id_ = uuid4()
    with pytest.raises(OperationalError):
        factory.application_recorder().insert_events([StoredEvent(id_, one, "t", b"") for one in range(1001)])
    factory.close()
    with pytest.raises(ProgrammingError):
        JetStreamFactory(Environment("Errors", {})).application_recorder()


@pytest.mark.parametrize("id_", ["plain", "", "a.b", "*", ">", "with space", "u-0", "Żółw", "x" * 65])
def test_any_id_is_one_token_of_a_subject_and_comes_back(id_: Any) -> None:
    token = originator_token(id_)
    assert originator_of(token) == id_
    assert not set(token) & set(".*> ")
    assert as_token(id_) == token
    assert originator_of(originator_token(made := uuid4())) == made
