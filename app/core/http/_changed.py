"""Which cached answers end because of what a request did: ended after its commit, before its answer goes out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog

from app.core.errors import ConfigurationError
from app.core.http._background import Background
from app.core.http._client_address import client_network
from app.core.http._gate import Ticket, current_ticket
from app.core.http._tags import filled
from app.core.policies import Caller
from app.core.valkey import Cache, StoreError

_AGAIN_S = 0.5
_log = structlog.get_logger(__name__)


def invalidate_tags(*tags: str) -> None:
    """End all cached answers with any of these tags, once the request in hand has committed; not if it fails.

    For handlers and services inside a gated request. What an endpoint always changes stands better in ``JobConfig.invalidates``. Raises
    ConfigurationError outside a gated request: call ``invalidate_tags`` of the cache there.
    """
    ticket = current_ticket()
    if ticket is None or ticket.state is None:
        raise ConfigurationError("invalidate_tags needs a gated request; elsewhere use the cache itself")
    if ticket.state.changed is None:
        ticket.state.changed = []
    ticket.state.changed += tags


class Changes:
    """Ends cached answers by tag. What an outage of the store kept from being ended is ended as soon as the store is back.

    Until then nobody is shown a cached answer, because there is no store to read it from; a process that dies meanwhile leaves old
    answers behind until their time is over.
    """

    def __init__(
        self,
        cache: Cache,
        background: Background,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._cache = cache
        self._background = background
        self._sleep = sleep
        self._owed: set[str] = set()

    async def end(self, tags: Iterable[str]) -> None:
        """End every answer with one of the tags. Never raises for the store."""
        wanted = sorted(tags)
        try:
            await self._cache.invalidate_tags(*wanted)
        except StoreError:
            is_first = not self._owed
            self._owed.update(wanted)
            if is_first:
                _log.warning("cache.invalidation_owed")
                self._background.start(self._pay())

    async def _pay(self) -> None:
        while self._owed:
            await self._sleep(_AGAIN_S)
            tags = sorted(self._owed)
            try:
                await self._cache.invalidate_tags(*tags)
            except StoreError:
                continue
            self._owed.difference_update(tags)


async def invalidate_changed(ticket: Ticket, scope: Mapping[str, Any], status: int) -> None:
    """Do it, after the commit. An answer of 400 or above changed nothing."""
    state, changes = ticket.state, ticket.gate.changes
    if changes is None or state is None or status >= 400:
        return
    caller = Caller(ticket.principal, client_network(state.client_ip))
    tags = {*filled(ticket.config.invalidates, scope, caller), *(state.changed or ())}
    if tags:
        await changes.end(tags)
