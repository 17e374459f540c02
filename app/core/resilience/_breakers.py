"""The breakers of one application: one per dependency, shared by all who name it."""

import random
from collections.abc import Callable
from dataclasses import fields
from typing import Protocol

import structlog

from app.core.errors import ConfigurationError
from app.core.observability import BreakerEvent, EventHub
from app.core.resilience._clock import Clock, SystemClock
from app.core.resilience._rolling import BreakerMode, BreakerRules, BreakerState, RollingBreaker

_log = structlog.get_logger(__name__)


class BreakerOptions(Protocol):
    """What an endpoint says of a breaker that it needs; ``Breaker`` of the policies is one."""

    @property
    def dependency(self) -> str:
        """The breaker's name; the numbers of ``BreakerRules`` stand beside it."""


class Breakers:
    """Makes each breaker when it is first asked for. One per application; its breakers are safe between threads.

    Changes go to ``hub`` as ``BreakerEvent`` and to the log.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        rng: Callable[[], float] = random.random,
        hub: EventHub | None = None,
    ) -> None:
        self.hub = hub
        self._clock = clock or SystemClock()
        self._rng = rng
        self._breakers: dict[str, RollingBreaker] = {}

    def get(self, options: BreakerOptions) -> RollingBreaker:
        """The breaker of this dependency. Raises ConfigurationError if it exists with other numbers."""
        rules = BreakerRules(**{field.name: getattr(options, field.name) for field in fields(BreakerRules)})
        name = options.dependency
        known = self._breakers.get(name)
        if known is None:
            known = self._breakers[name] = RollingBreaker(
                name, rules, clock=self._clock, rng=self._rng, on_change=self._changed
            )
            self._emit(BreakerEvent(name, "closed"))
        elif known.rules != rules:
            unequal = [
                f"{field.name}={getattr(known.rules, field.name):g} and {getattr(rules, field.name):g}"
                for field in fields(BreakerRules)
                if getattr(known.rules, field.name) != getattr(rules, field.name)
            ]
            raise ConfigurationError(
                f"The circuit breaker {name} is declared with {', '.join(unequal)}; give all endpoints that name it "
                "the same numbers, or another dependency's name"
            )
        return known

    def find(self, dependency: str) -> RollingBreaker | None:
        """The breaker of this name, if any endpoint has one."""
        return self._breakers.get(dependency)

    def states(self) -> list[BreakerState]:
        """All of them, by name."""
        return [self._breakers[name].snapshot() for name in sorted(self._breakers)]

    def set_mode(self, dependency: str, mode: BreakerMode) -> bool:
        """Put a breaker into a mode (see ``RollingBreaker.set_mode``). False when there is no such breaker."""
        breaker = self._breakers.get(dependency)
        if breaker is not None:
            breaker.set_mode(mode)
        return breaker is not None

    def _changed(self, dependency: str, state: str, former: str) -> None:
        _log.warning("breaker.changed", dependency=dependency, state=state, former=former)
        self._emit(BreakerEvent(dependency, state, former))

    def _emit(self, event: BreakerEvent) -> None:
        if self.hub is not None:
            self.hub.emit(event)
