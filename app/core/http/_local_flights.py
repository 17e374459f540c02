"""Cached answers while Valkey is away: each computed once in this process at a time, and few of an endpoint at once.

An endpoint that is cached is seldom computed, and what stands behind it is sized for that: an outage of the store must not bring all of its
callers there together.
"""

import asyncio
from collections.abc import Hashable

from app.core.http._answer import Answer
from app.core.resilience import Places

_MOST_WAITING = 1000


class LocalLead:
    """The one who computes an answer. ``land`` must follow, however it ends; doing it again does nothing."""

    __slots__ = ("_flights", "_has_place", "_name", "landed")

    def __init__(self, flights: "LocalFlights", name: Hashable) -> None:
        self.landed: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._flights = flights
        self._name = name
        self._has_place = False

    async def take_place(self, timeout_s: float) -> bool:
        """Wait for one. False: there was none in time, and it has landed."""
        try:
            self._has_place = await self._flights.places.acquire(timeout_s)
        finally:
            if not self._has_place:
                self.land(None)
        return self._has_place

    def land(self, answer: Answer | None) -> None:
        """Those who wait get this; None: they compute it themselves."""
        if self.landed.done():
            return
        self.landed.set_result(answer)
        self._flights.forget(self._name, self)
        if self._has_place:
            self._flights.places.release()


class LocalFlights:
    """One endpoint's. Names are those of the answers: nobody gets what another scope's caller had computed. ``most``: at once.

    Apart from the flights of ``get_or_set_cache``, because a request is computed by its own task, which must send it too.
    """

    def __init__(self, *, most: int) -> None:
        self.places = Places(most, queue=_MOST_WAITING)
        self._leads: dict[Hashable, LocalLead] = {}

    def is_computed(self, name: Hashable) -> bool:
        """Whether somebody is at it."""
        return name in self._leads

    async def wait_for(self, name: Hashable, timeout_s: float) -> Answer | None:
        """His answer. None: it did not come in time, or it is not for others."""
        lead = self._leads.get(name)
        if lead is None:
            return None
        await asyncio.wait({lead.landed}, timeout=timeout_s)
        return lead.landed.result() if lead.landed.done() else None

    async def lead(self, name: Hashable, timeout_s: float) -> LocalLead | None:
        """Compute it, for those too who ask meanwhile, as soon as there is a place. None: there was none in time."""
        lead = LocalLead(self, name)
        self._leads.setdefault(name, lead)
        return lead if await lead.take_place(timeout_s) else None

    def forget(self, name: Hashable, lead: LocalLead) -> None:
        """It can no longer be waited for."""
        if self._leads.get(name) is lead:
            del self._leads[name]
