"""What is counted, under which bounded labels, and how several workers add up."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families

from app.core.observability import (
    DatabaseEvent,
    EventHub,
    KeysEvent,
    Metrics,
    PolicyEvent,
    RequestRecord,
    StoreEvent,
    WorkEvent,
    prepare_multiprocess_dir,
    record_db_latency,
)

RECORD = RequestRecord(0.0, "GET", "/records/{record_id}", 200, 0.02, 42, "r-1", None, None, None, None)


def value(metrics: Metrics | bytes, name: str, labels: Mapping[str, str] | None = None) -> float | None:
    """One sample of an exposition."""
    text = metrics if isinstance(metrics, bytes) else metrics.exposition()
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == dict(labels or {}):
                return sample.value
    return None


class TestRequests:
    def test_are_counted_by_template_method_and_status(self) -> None:
        metrics = Metrics()
        metrics.on_requests([RECORD, RECORD, RECORD._replace(status=404)])
        labels = {"handler": "/records/{record_id}", "method": "GET"}
        assert value(metrics, "http_requests_total", {**labels, "status": "200"}) == 2
        assert value(metrics, "http_requests_total", {**labels, "status": "404"}) == 1
        assert value(metrics, "http_request_duration_seconds_count", labels) == 3
        assert value(metrics, "http_request_duration_seconds_bucket", {**labels, "le": "0.01"}) == 0
        assert value(metrics, "http_request_duration_seconds_bucket", {**labels, "le": "0.025"}) == 3

    def test_unmatched_paths_share_one_label(self) -> None:
        metrics = Metrics()
        metrics.on_requests([RECORD._replace(route="(unmatched)", status=404)] * 5)
        assert (
            value(metrics, "http_requests_total", {"handler": "none", "method": "GET", "status": "404"}) == 5
        )


class TestEvents:
    @pytest.fixture
    def metrics(self) -> Metrics:
        return Metrics()

    @pytest.fixture
    def hub(self, metrics: Metrics) -> EventHub:
        hub = EventHub()
        metrics.subscribe(hub)
        return hub

    def test_decisions_by_policy_and_verdict(self, metrics: Metrics, hub: EventHub) -> None:
        hub.emit(PolicyEvent("p", "admitted", store_s=0.002))
        hub.emit(PolicyEvent("p", "admitted", shadowed=("user",)))
        hub.emit(PolicyEvent("p", "limited", "user", degraded=True))
        name = "gatehouse_policy_decisions_total"
        assert value(metrics, name, {"policy": "p", "verdict": "admitted", "shadow": "false"}) == 1
        assert value(metrics, name, {"policy": "p", "verdict": "admitted", "shadow": "true"}) == 1
        assert value(metrics, name, {"policy": "p", "verdict": "limited", "shadow": "false"}) == 1
        assert value(metrics, "gatehouse_policy_degraded_total", {"policy": "p"}) == 1
        assert value(metrics, "gatehouse_policy_store_seconds_count") == 1

    def test_statements_and_their_errors(self, metrics: Metrics, hub: EventHub) -> None:
        hub.emit(DatabaseEvent("select", 0.003))
        hub.emit(DatabaseEvent("vacuum", 0.003, "42P01"))
        assert value(metrics, "gatehouse_db_statement_seconds_count", {"operation": "select"}) == 1
        assert value(metrics, "gatehouse_db_statement_seconds_count", {"operation": "other"}) == 1
        assert value(metrics, "gatehouse_db_errors_total", {"error": "42P01"}) == 1

    def test_the_stores_state(self, metrics: Metrics, hub: EventHub) -> None:
        hub.emit(StoreEvent("up"))
        assert value(metrics, "gatehouse_store_up") == 1
        hub.emit(StoreEvent("down", "refused"))
        assert value(metrics, "gatehouse_store_up") == 0
        assert value(metrics, "gatehouse_store_transitions_total", {"state": "down"}) == 1

    def test_fetches_of_another_issuers_keys(self, metrics: Metrics, hub: EventHub) -> None:
        hub.emit(KeysEvent("failed"))
        hub.emit(KeysEvent("fetched"))
        hub.emit(KeysEvent("failed"))
        assert value(metrics, "gatehouse_token_key_fetches_total", {"outcome": "failed"}) == 2
        assert value(metrics, "gatehouse_token_key_fetches_total", {"outcome": "fetched"}) == 1

    def test_handlers_by_endpoint(self, metrics: Metrics, hub: EventHub) -> None:
        hub.emit(WorkEvent("read_records", 0.2, "ok"))
        hub.emit(WorkEvent("read_records", 0.2, "timeout"))
        assert value(metrics, "api_latency_seconds_count", {"endpoint": "read_records"}) == 2
        assert value(metrics, "api_latency_seconds_sum", {"endpoint": "read_records"}) == pytest.approx(0.4)
        assert value(metrics, "api_errors_total", {"endpoint": "read_records", "outcome": "timeout"}) == 1


class TestRecordDbLatency:
    async def test_times_the_block_also_when_it_raises(self) -> None:
        labels = {"operation": "test_times_the_block"}
        async with record_db_latency("test_times_the_block"):
            pass
        with pytest.raises(LookupError):
            async with record_db_latency("test_times_the_block"):
                raise LookupError
        assert value(Metrics(), "db_latency_seconds_count", labels) == 2


class TestExposition:
    def test_applications_in_one_process_do_not_meet(self) -> None:
        first, second = Metrics(), Metrics()
        first.on_requests([RECORD])
        labels = {"handler": RECORD.route, "method": "GET", "status": "200"}
        assert (
            value(first, "http_requests_total", labels),
            value(second, "http_requests_total", labels),
        ) == (1, None)

    def test_metrics_of_the_users_own_are_shown(self) -> None:
        counter = Counter("orders_placed", "Orders")
        try:
            counter.inc()
            assert value(Metrics(), "orders_placed_total") == 1
        finally:
            REGISTRY.unregister(counter)

    def test_a_name_is_exposed_once(self) -> None:
        names = [family.name for family in text_string_to_metric_families(Metrics().exposition().decode())]
        assert sorted(names) == sorted(set(names))


def test_a_metric_that_users_make_under_a_name_of_ours_is_one_family_with_both_samples() -> None:
    theirs = Histogram("api_latency_seconds", "Theirs", ["endpoint"])
    try:
        theirs.labels(endpoint="/theirs").observe(0.1)
        metrics, hub = Metrics(), EventHub()
        metrics.subscribe(hub)
        hub.emit(WorkEvent("ours", 0.1, "ok"))
        shown = metrics.exposition()
    finally:
        REGISTRY.unregister(theirs)
    assert shown.count(b"# TYPE api_latency_seconds histogram") == 1
    for endpoint in ("/theirs", "ours"):
        assert value(shown, "api_latency_seconds_count", {"endpoint": endpoint}) == 1


WORKERS = """
import gc, os, sys
gc.disable()
from app.core.observability import EventHub, Metrics, RequestRecord, StoreEvent
def work(state):
    metrics = Metrics()
    hub = EventHub()
    metrics.subscribe(hub)
    hub.emit(StoreEvent(state))
    metrics.on_requests([RequestRecord(0.0, "GET", "/x", 200, 0.01, 1, "r", None, None, None, None)] * 3)
    return metrics
if (first := os.fork()) == 0:
    work("down")
    os._exit(0)
assert os.waitpid(first, 0)[1] == 0
sys.stdout.buffer.write(work("up").exposition())
"""


class TestSeveralWorkers:
    def test_are_summed_and_a_dead_workers_state_is_forgotten(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
        folder = tmp_path / "metrics"
        folder.mkdir()
        (folder / "counter_1.db").write_bytes(b"left by an earlier run")
        prepare_multiprocess_dir(folder)
        assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(folder)
        shown = subprocess.run(
            [sys.executable, "-c", WORKERS], check=True, capture_output=True, timeout=60
        ).stdout
        assert value(shown, "http_requests_total", {"handler": "/x", "method": "GET", "status": "200"}) == 6
        assert value(shown, "http_request_duration_seconds_count", {"handler": "/x", "method": "GET"}) == 6
        assert value(shown, "gatehouse_store_up") == 1
