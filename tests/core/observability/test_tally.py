"""A batch gives the same numbers as its events one by one."""

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from app.core.observability import (
    CacheEvent,
    Event,
    EventHub,
    Metrics,
    PolicyEvent,
    RequestRecord,
    SettlementEvent,
    WorkEvent,
)
from app.core.observability._tally import observe_all, taken, tally

Samples = dict[tuple[str, str], float]
BUCKETS = (0.0005, 0.005, 0.01, 1.0, 10.0)
names = st.sampled_from(["records.read", "records.write"])
# Bounds of buckets, what is beside them, and what is beyond the last one.
seconds = st.sampled_from([0.0, *BUCKETS, 0.00500001, 0.00499999, 10.5]) | st.floats(0, 20)
requests = st.builds(
    RequestRecord,
    ended_at=st.just(0.0),
    method=st.sampled_from(["GET", "POST"]),
    route=st.sampled_from(["/records", "(unmatched)", "(mounted)"]),
    status=st.sampled_from([200, 404, 429]),
    duration_s=seconds,
    size=st.just(1),
    request_id=st.just("r"),
    client_ip=st.none(),
    principal_id=st.none(),
    policy=st.none(),
    outcome=st.none(),
)
events = st.one_of(
    st.builds(
        PolicyEvent,
        policy=names,
        verdict=st.sampled_from(["admitted", "limited"]),
        shadowed=st.sampled_from([(), ("user",), ("user", "ip")]),
        degraded=st.booleans(),
        store_s=seconds,
    ),
    st.builds(WorkEvent, policy=names, duration_s=seconds, outcome=st.sampled_from(["ok", "error"])),
    # Equal as tuples, though of two kinds: they must not be counted for each other.
    st.builds(SettlementEvent, policy=st.sampled_from(["hit", "miss"]), outcome=st.sampled_from(["a", "b"])),
    st.builds(CacheEvent, kind=st.sampled_from(["hit", "miss"]), cache=st.sampled_from(["a", "b"])),
)


def samples(metrics: Metrics) -> Samples:
    """Everything that requests and their gates feed, by name and labels."""
    lines = (line.rpartition(" ") for line in metrics.exposition().decode().splitlines() if line[:1] != "#")
    named = ((text.partition("{"), float(value)) for text, _, value in lines)
    return {
        (name, labels): value
        for (name, _, labels), value in named
        if name.startswith(("http_", "api_", "gatehouse_")) and not name.endswith("_created")
    }


def after(records: Sequence[RequestRecord], emitted: Sequence[Event], *, together: bool) -> Samples:
    metrics, hub = Metrics(), EventHub()
    metrics.subscribe(hub)
    for event in emitted:
        hub.emit(event)
        if not together:
            metrics.on_requests([])
    for batch in [records] if together else [[record] for record in records]:
        metrics.on_requests(batch)
    return samples(metrics)


class TestBatches:
    @given(st.lists(requests, max_size=30), st.lists(events, max_size=60))
    def test_are_counted_as_one_by_one(self, records: list[RequestRecord], emitted: list[Event]) -> None:
        together = after(records, emitted, together=True)
        one_by_one = after(records, emitted, together=False)
        assert together.keys() == one_by_one.keys()
        for key, value in one_by_one.items():
            assert together[key] == (pytest.approx(value) if key[0].endswith("_sum") else value)


class TestObserveAll:
    @given(st.lists(seconds, max_size=50))
    def test_fills_the_buckets_that_observe_fills(self, values: list[float]) -> None:
        registry = CollectorRegistry()
        ours, theirs = (Histogram(name, "h", buckets=BUCKETS, registry=registry) for name in ("a", "b"))
        observe_all(ours, values)
        for value in values:
            theirs.observe(value)
        for bound in (*map(str, BUCKETS), "+Inf"):
            labels = {"le": bound}
            assert registry.get_sample_value("a_bucket", labels) == registry.get_sample_value(
                "b_bucket", labels
            )
        assert registry.get_sample_value("a_count") == len(values)
        assert registry.get_sample_value("a_sum") == pytest.approx(registry.get_sample_value("b_sum"))


def test_a_tally_counts_each() -> None:
    assert tally(["a", "b", "a"]) == {"a": 2, "b": 1}


def test_what_was_taken_waits_no_longer() -> None:
    waiting = deque([1, 2, 3])
    assert taken(waiting) == [1, 2, 3]
    assert taken(waiting) == []
