"""What one host may do to this process: a circuit breaker for each host that webhooks go to, and a share of the places."""

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import NamedTuple

import structlog

from app.builtin.jobs.service.webhook_turns import Turns
from app.core.errors import PolicyRejected
from app.core.resilience import BreakerRules, Clock, Leave, RollingBreaker

_log = structlog.get_logger(__name__)
RULES = BreakerRules(window=60.0, min_calls=5, slow_after=60.0, open_for=30.0, open_most=600.0)
"""A host that fails half of 5 or more calls of a minute is left alone for 30 seconds, longer each time, up to 10 minutes."""


class _Host(NamedTuple):
    """What is known of one host."""

    breaker: RollingBreaker
    turns: Turns


class WebhookHosts:
    """One process's breakers and places, by host and port; the ``most`` hosts that were used last, and those in use. Not among the breakers
    of dependencies: users name these hosts, and could make as many metrics.

    ``places``: of the process, for jobs of every kind. Half of them are for webhooks, an eighth for one host: a host that takes its time
    delays what goes to it, and nothing else; many such hosts together delay webhooks, and no other job.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        places: int,
        rules: BreakerRules = RULES,
        most: int = 1000,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._most = most
        self._rng = rng
        self._all = Turns(clock, max(1, places // 2))
        self._most_each = max(1, places // 8)
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    @contextmanager
    def call(self, name: str) -> Iterator[Leave]:
        """Leave for one call, which is made in the block; without a verdict by its end, there is none. Raises PolicyRejected with the
        seconds until the host, or a place, is worth another try.
        """
        host = self._known(name)
        for turns in (host.turns, self._all):
            if not turns.has_place:
                raise PolicyRejected(
                    "Enough webhooks are on their way just now.", retry_after=turns.next_turn_s()
                )
        leave = host.breaker.try_acquire()
        if leave is None:
            wait_s = max(1, ceil(host.breaker.retry_after_s()))
            raise PolicyRejected("The host of this webhook fails and is left alone.", retry_after=wait_s)
        entered = [(turns, turns.enter()) for turns in (host.turns, self._all)]
        try:
            yield leave
        finally:
            leave.abandoned()  # unless it was judged
            for turns, since in entered:
                turns.leave(since)

    def _known(self, name: str) -> _Host:
        host = self._hosts.pop(name, None) or self._new(name)
        if len(self._hosts) >= self._most:
            idle = next((other for other, one in self._hosts.items() if not one.turns.in_use), None)
            if idle is not None:
                del self._hosts[idle]
        self._hosts[name] = host
        return host

    def _new(self, name: str) -> _Host:
        breaker = RollingBreaker(name, self._rules, clock=self._clock, rng=self._rng, on_change=_changed)
        return _Host(breaker, Turns(self._clock, self._most_each))


def _changed(host: str, state: str, former: str) -> None:
    _log.warning("webhook.host_changed", host=host, state=state, former=former)
