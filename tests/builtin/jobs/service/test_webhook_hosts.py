from contextlib import ExitStack

import pytest

from app.builtin.jobs.service.webhook_hosts import RULES, WebhookHosts
from app.core.errors import PolicyRejected
from app.core.resilience import ManualClock


def failing(hosts: WebhookHosts, host: str) -> None:
    for _ in range(RULES.min_calls):
        call(hosts, host, fails=True)


def call(hosts: WebhookHosts, host: str, *, fails: bool = False) -> None:
    with hosts.call(host) as leave:
        leave.failed() if fails else leave.succeeded()


def refused_for(hosts: WebhookHosts, host: str) -> int | None:
    with pytest.raises(PolicyRejected) as refused, hosts.call(host):
        pass
    return refused.value.retry_after


def test_a_host_that_fails_is_left_alone_then_tried_once() -> None:
    clock = ManualClock()
    hosts = WebhookHosts(clock, places=64, rng=lambda: 0.0)
    failing(hosts, "bad.example:443")
    assert refused_for(hosts, "bad.example:443") == 30
    call(hosts, "good.example:443")
    clock.advance(30)
    with hosts.call("bad.example:443") as probe:
        assert refused_for(hosts, "bad.example:443")
        probe.failed()
    assert refused_for(hosts, "bad.example:443") == 60
    clock.advance(60)
    for _ in range(2):
        call(hosts, "bad.example:443")


def test_only_the_hosts_of_late_are_remembered_and_those_in_use() -> None:
    hosts = WebhookHosts(ManualClock(), places=8, most=2)
    failing(hosts, "first")
    for host in ("second", "other"):
        call(hosts, host)
    call(hosts, "first")
    failing(hosts, "third")
    for host in ("fourth", "fifth"):
        assert refused_for(hosts, "third")
        call(hosts, host)
    with hosts.call("busy"):
        for host in ("sixth", "seventh", "eighth"):
            call(hosts, host)
        assert refused_for(hosts, "busy")


def test_a_host_that_takes_its_time_delays_only_what_goes_to_it() -> None:
    hosts = WebhookHosts(ManualClock(), places=64)
    with ExitStack() as under_way:
        for _ in range(8):
            under_way.enter_context(hosts.call("slow.example"))
        assert refused_for(hosts, "slow.example")
        for _ in range(8):
            under_way.enter_context(hosts.call("good.example"))
        under_way.enter_context(hosts.call("other.example"))
    call(hosts, "slow.example")


def test_many_slow_hosts_leave_half_of_the_places_to_other_jobs() -> None:
    hosts = WebhookHosts(ManualClock(), places=64)
    with ExitStack() as under_way:
        for number in range(32):
            under_way.enter_context(hosts.call(f"{number}.example"))
        assert refused_for(hosts, "33.example")
    call(hosts, "33.example")


def test_a_call_that_breaks_off_gives_its_place_back() -> None:
    hosts = WebhookHosts(ManualClock(), places=8)
    for _ in range(3):
        with pytest.raises(LookupError), hosts.call("one.example"):
            raise LookupError
    call(hosts, "one.example")
