"""Which tokens have ended before their time: an account's epoch, which ADMIT looks at in the request's one round trip.

An epoch is a hash ``{u:<id>}:v1:n``: ``n`` is the time in ms before which all tokens of the account are over, ``p`` the same while nobody
has read the rest from the database, and there is a field ``s<sid>`` for each session that has ended. The database is the truth
(``EpochSource``); the store's copy is made when it is missed, lives for ``grace_s`` and is then read anew, so that a revocation which the
store lost (a failover) holds after that time.
"""

import asyncio
from collections.abc import Iterable

from app.core.errors import Unavailable
from app.core.policies._ask import Token
from app.core.policies._keys import Caller, user_partition
from app.core.policies._providers import EpochSource
from app.core.policies._store_calls import Store, call
from app.core.resilience import Clock
from app.core.valkey import Script, ValkeyClient

_EPOCH = ":v1:n"
_load, _end = (Script.load("app.core.policies.lua", f"epoch_{name}.lua") for name in ("load", "end"))
EPOCH_SCRIPTS = (_load, _end)


class RevocationUnknown(Unavailable):
    """Nobody can tell whether the token was revoked: store or database have been away for longer than the grace time."""

    def __init__(self, policy: str) -> None:
        super().__init__(
            "It cannot be checked now whether this token still holds.",
            extensions={"policy": policy, "reason": "store_unavailable"},
        )


class EpochBook:
    """Ends tokens in the store, for those who have written it to the database or are about to.

    Call it before the commit: if the store cannot be reached nothing has happened, and nobody is told that he is signed out when he is
    not. Every method raises a ``StoreError`` then. ``grace_s``: as ``Epochs``.
    """

    def __init__(self, store: ValkeyClient, *, grace_s: float) -> None:
        self._store = store
        self._life_ms = round(grace_s * 1000)

    async def end_all(self, account: str, before_ms: int) -> None:
        """All tokens of the account that were issued before this time are over, in every process, with the next request."""
        await self._store.run(_end, [epoch_key(account)], [before_ms, self._life_ms])

    async def end_sessions(self, account: str, sessions: Iterable[str]) -> None:
        """The tokens of these sessions are over."""
        fields = [_field(session) for session in sessions]
        if fields:
            await self._store.run(_end, [epoch_key(account)], ["", self._life_ms, *fields])


class Epochs:
    """What ADMIT is asked about a caller's token, and what is done when it does not know.

    ``grace_s``: for so long after store or database went away a token counts as good that nobody can look up; then ``RevocationUnknown``.
    It bounds how long a revoked token may be of use in an outage, and is of no use to one without a session (jobs), which is
    not asked about.
    """

    def __init__(self, store: Store, source: EpochSource, *, clock: Clock, grace_s: float) -> None:
        self._store = store
        self._source = source
        self._clock = clock
        self._grace_s = grace_s
        self._life_ms = round(grace_s * 1000)
        self._store_away: float | None = None
        self._source_away: float | None = None
        self._loading: dict[str, asyncio.Task[bool]] = {}

    def token_of(self, caller: Caller) -> Token | None:
        """The question for one request; None for a caller without a session."""
        principal = caller.principal
        if principal is None or principal.session_id is None:
            return None
        return Token(
            principal.id,
            f"{{{user_partition(caller)}}}{_EPOCH}",
            round(principal.issued_at * 1000),
            _field(principal.session_id),
        )

    def store_answered(self) -> None:
        """The outage of the store is over, if there was one."""
        self._store_away = None

    def bear_without_store(self, policy: str) -> None:
        """The store does not answer. Raises ``RevocationUnknown`` when that has been so for longer than the grace time."""
        now = self._clock.monotonic()
        if self._store_away is None:
            self._store_away = now
        if now - self._store_away >= self._grace_s:
            raise RevocationUnknown(policy)

    async def load(self, account: str, policy: str) -> bool:
        """Bring the account's epoch into the store; one at a time for each account.

        False: it cannot be read now, and the grace time is not over. Raises ``RevocationUnknown`` when it is, ``StoreError`` when the
        store is away.
        """
        task = self._loading.get(account)
        if task is None:
            task = self._loading[account] = asyncio.ensure_future(self._load(account))
            task.add_done_callback(lambda _: self._loading.pop(account, None))
        is_known = await asyncio.shield(task)
        if not is_known and self._source_is_overdue():
            raise RevocationUnknown(policy)
        return is_known

    async def close(self) -> None:
        """Wait for what is being read: it needs the database and the store, which are closed next."""
        while self._loading:
            await asyncio.wait(list(self._loading.values()))

    async def _load(self, account: str) -> bool:
        try:
            epoch = await self._source.epoch_of(account)
        except Unavailable:
            if self._source_away is None:
                self._source_away = self._clock.monotonic()
            return False
        self._source_away = None
        numbers = b"%d" % epoch.since_ms, b"%d" % self._life_ms
        await call(
            self._store, _load, [epoch_key(account)], (*numbers, *map(_field, epoch.ended)), is_patient=True
        )
        return True

    def _source_is_overdue(self) -> bool:
        away = self._source_away
        return away is not None and self._clock.monotonic() - away >= self._grace_s


def epoch_key(account: str) -> str:
    """Where the account's epoch stands."""
    return f"{{{user_partition(Caller.of(account))}}}{_EPOCH}"


def _field(session: str) -> bytes:
    return b"s" + session.encode()
