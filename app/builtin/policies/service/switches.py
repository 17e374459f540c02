"""What operators set by hand."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.builtin.policies.repository import SwitchRepository
from app.builtin.policies.schemas import BreakerState
from app.core.db import Database
from app.core.errors import Conflict, NotFound
from app.core.http import AuditedRoute, Platform
from app.core.policies import Board, Switch, Switches, breaker_switch
from app.core.resilience import Breakers
from app.core.valkey import StoreError

SWITCH = "policies_switch"
"""The policy of the switch itself: off, nobody could switch it on again."""


class NoSuchPolicy(NotFound):
    """No route of this service has a gate of this name, and no work runs under it."""


class NoSuchBreaker(NotFound):
    """No policy of this service names this dependency."""


class SwitchBoard:
    """Sets switches: first in the table, then, when that is certain, in all processes."""

    def __init__(self, database: Database, switches: Switches) -> None:
        self._database = database
        self._switches = switches

    async def set(self, name: str, state: str, reason: str, by: str) -> tuple[Switch, bool]:
        """Set one switch; it and whether Valkey carries it already. It holds in this process in any case.

        It commits by itself: a process must never hear of a switch that the table may still refuse.
        """
        async with self._database.session() as session:
            rows = SwitchRepository(session)
            switch = await rows.put(name, state, reason, by)
            board = await rows.board()
            await session.commit()
        try:
            await self._switches.publish(board)
        except StoreError:
            return switch, False
        return switch, True

    async def reassert(self) -> None:
        """Publish what the table says, so that a store that lost it has it again. Raises StoreError and DatabaseError."""
        await self._switches.publish(await read_board(self._database))

    async def set_policy(
        self,
        routes: Iterable[AuditedRoute],
        name: str,
        *,
        enabled: bool,
        reason: str,
        by: str,
        work: Iterable[str] = (),
    ) -> tuple[Switch, bool]:
        """Switch the routes of one policy, or the ``work`` that runs under it, on or off. Raises NoSuchPolicy, and Conflict for the
        switch itself.
        """
        if name not in {*work, *(route.gate.name for route in routes if route.gate is not None)}:
            raise NoSuchPolicy("No route and no work has a policy of this name.")
        if name == SWITCH and not enabled:
            raise Conflict("The switch itself cannot be switched off.")
        return await self.set(name, "on" if enabled else "off", reason, by)

    async def set_breaker(
        self, known: Iterable[str], dependency: str, state: BreakerState, reason: str, by: str
    ) -> tuple[Switch, bool]:
        """Set a breaker by hand, in all processes. Raises NoSuchBreaker."""
        if dependency not in known:
            raise NoSuchBreaker("No policy names this dependency.")
        return await self.set(breaker_switch(dependency), state, reason, by)


async def read_board(database: Database) -> Board:
    """What the table says, read in a session of its own."""
    async with database.session() as session:
        return await SwitchRepository(session).board()


def set_by_hand(breakers: Breakers, dependency: str, state: str) -> None:
    """What a switch says of a breaker, done in this process; a dependency that it does not have is none of its business."""
    breaker = breakers.find(dependency)
    if breaker is None:
        return
    if state == "isolated":
        breaker.isolate()
    elif state == "closed":
        breaker.close()
    else:
        breaker.set_mode("auto")


def provide_policies(platform: Platform, _: Any) -> Mapping[type[Any], Any]:
    """The services of this feature, by type. The door starts the platform's switches when all breakers are known, and stops them."""

    def on_breaker(dependency: str, state: str) -> None:
        set_by_hand(platform.breakers, dependency, state)

    switches = Switches(platform.store, source=lambda: read_board(platform.database), on_breaker=on_breaker)
    platform.switches = switches
    return {Switches: switches, SwitchBoard: SwitchBoard(platform.database, switches)}
