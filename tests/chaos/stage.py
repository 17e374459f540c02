"""What tests of faults look at: two processes of the service, servers of their own, and the books."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2

from app.core.db import Database
from app.core.policies import CREDIT, account_key
from app.core.valkey import ValkeyClient
from tests.builtin.credits.books import check_books, give
from tests.lock_waits import WAITING
from tests.processes import PATIENCE_S, Api, api_process, bearer
from tests.servers import PrivateServer

PROGRAM = ("tests.chaos.app",)
ORDER = {"item": "tea"}
TABLES = (
    "CREATE TABLE chaos_orders (id bigint GENERATED ALWAYS AS IDENTITY, policy text, owner text, item text);"
    "CREATE TABLE chaos_reports (id bigint GENERATED ALWAYS AS IDENTITY, name text)"
)
_AGE = """
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 1) == 'r' then
    redis.call('HSET', KEYS[1], fields[i], (string.gsub(fields[i + 1], ' %d+ ', ' 1 ')))
  end
end
"""
_NOTHING: Mapping[str, str] = {}


async def until(
    condition: Callable[[], Awaitable[bool] | bool], what: str, within_s: float = PATIENCE_S
) -> float:
    """Look again until it is so; the seconds that took."""
    started = time.monotonic()
    while True:
        found = condition()
        if found is True or (not isinstance(found, bool) and await found):
            return time.monotonic() - started
        assert time.monotonic() - started < within_s, f"it did not come to that: {what}"
        await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Gate:
    """A gate at which requests wait; see ``tests.chaos.app``."""

    folder: Path
    name: str

    def stop(self, point: str) -> dict[str, str]:
        """The header of a request that is to wait at this point."""
        return {"X-Stop": f"{point}:{self.name}"}

    @property
    def arrivals(self) -> int:
        """How many requests have come to it."""
        came = self.folder / f"{self.name}.came"
        return came.stat().st_size if came.exists() else 0

    async def reached(self, by: int = 1) -> None:
        """Return when so many requests have come to it."""
        await until(lambda: self.arrivals >= by, f"{by} requests at the gate, not {self.arrivals}")

    def open(self) -> None:
        """Let them pass, and whoever comes."""
        (self.folder / f"{self.name}.open").touch()


@dataclass
class Stage:
    """Servers that may be killed, ways to look into them, and the environment of processes that use them."""

    postgres: PrivateServer
    valkey: PrivateServer
    database: Database
    store: ValkeyClient
    pool: asyncpg.Pool
    folder: Path

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Api]:
        """One more process of the service."""
        environment = {
            "DATABASE_URL": self.postgres.url,
            "VALKEY_URL": self.valkey.url,
            "TRUSTED_PROXIES": "127.0.0.1/32",
            "CHAOS_GATES": str(self.folder),
            "DB_POOL_SIZE": "10",
            # Long enough for a busy machine, and shorter than the outages of these tests.
            "VALKEY_TIMEOUT_MS": "500",
        }
        async with api_process(environment, PROGRAM) as api:
            yield api

    def gate(self) -> Gate:
        """A new gate, closed."""
        return Gate(self.folder, uuid4().hex)

    async def customer(self, amount: int) -> UUID:
        """A new user with so many credits."""
        user = uuid4()
        if amount:
            await give(self.database, str(user), amount)
        return user

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection that knows nothing of the service."""
        async with self.pool.acquire() as connection:
            yield connection

    async def is_waiting_for_a_lock(self) -> bool:
        """Whether anybody waits for somebody else's transaction."""
        async with self.sql() as sql:
            return bool(await sql.fetchval(WAITING))

    async def rows(self, user: UUID, policy: str) -> list[str]:
        """The items of the orders that are committed."""
        async with self.sql() as sql:
            found = await sql.fetch(
                "SELECT item FROM chaos_orders WHERE owner = $1 AND policy = $2 ORDER BY id",
                str(user),
                policy,
            )
        return [row["item"] for row in found]

    async def reports(self, name: str) -> int:
        """How often a report was computed."""
        async with self.sql() as sql:
            number: int = await sql.fetchval("SELECT count(*) FROM chaos_reports WHERE name = $1", name)
        return number

    async def admitted(self, users: Iterable[UUID]) -> int:
        """How many requests of these users ADMIT has decided in the last seconds: each leaves a receipt."""
        names = {account_key(str(user)).partition("}")[0] for user in users}
        keys: list[bytes] = await self.store.execute("KEYS", "*:v1:r:*")
        return sum(key.decode().partition("}")[0] in names for key in keys)

    async def debits(self, user: UUID, policy: str | None = None) -> int:
        """How many charges of one credit are in the ledger; nothing but such charges may be there."""
        async with self.sql() as sql:
            found = await sql.fetch(
                "SELECT amount_micro, overage_micro, meta->>'policy' AS policy FROM credit_ledger"
                " WHERE account_id = $1 AND kind = 'debit'",
                str(user),
            )
        assert all((row["amount_micro"], row["overage_micro"]) == (-CREDIT, 0) for row in found), found
        return sum(policy in (None, row["policy"]) for row in found)

    async def held(self, user: UUID) -> int:
        """Credits that the store holds for requests in flight; checked against the single holds."""
        fields = await self._account(user)
        holds = [value for name, value in fields.items() if name.startswith(b"r")]
        total = int(fields.get(b"h", 0))
        assert total == sum(int(value.split()[0]) for value in holds), fields
        return total // CREDIT

    async def _account(self, user: UUID) -> dict[bytes, bytes]:
        flat = await self.store.execute("HGETALL", account_key(str(user)))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def age_holds(self, user: UUID) -> None:
        """As if the time of his holds were over: it is 40 seconds, which no test should wait for."""
        await self.store.execute("EVAL", _AGE, 1, account_key(str(user)))

    async def check_account(self, user: UUID, balance: int) -> None:
        """Nothing is held any more, and ledger and store agree on what is left; waits for sweeper and reconciler."""
        await self.age_holds(user)

        async def agrees() -> bool:
            fields = await self._account(user)
            is_cold = b"b" not in fields
            return is_cold or (int(fields.get(b"h", 0)), int(fields[b"b"])) == (0, balance * CREDIT)

        await until(agrees, f"the store's balance of {balance}")
        assert await self.held(user) == 0
        async with self.sql() as sql:
            found = await sql.fetchval("SELECT balance_micro FROM credit_accounts WHERE id = $1", str(user))
        assert found == balance * CREDIT

    async def check_books(self) -> None:
        """Every account's balance is the sum of its entries, and not negative."""
        await check_books(self.database)


@dataclass(frozen=True)
class Caller:
    """A user as the processes see him."""

    user: UUID
    headers: Mapping[str, str]

    @classmethod
    def of(cls, user: UUID, **rights: Any) -> "Caller":
        """With every right, unless they are named."""
        return cls(user, bearer(user, **rights))

    async def post(
        self,
        api: Api,
        path: str,
        key: str | None = None,
        headers: Mapping[str, str] = _NOTHING,
        *,
        item: str | None = None,
    ) -> httpx2.Response:
        """Send an order, under an idempotency key if there is one."""
        own = {"Idempotency-Key": key} if key is not None else {}
        order = {"item": item} if item is not None else ORDER
        return await api.client.post(path, json=order, headers={**self.headers, **own, **headers})

    async def get(self, api: Api, path: str, headers: Mapping[str, str] = _NOTHING) -> httpx2.Response:
        """Ask for something."""
        return await api.client.get(path, headers={**self.headers, **headers})


@contextmanager
def frozen(server: PrivateServer) -> Iterator[None]:
    """Nothing answers in the block, and connections stay open."""
    server.stop_signal()
    try:
        yield
    finally:
        server.cont()


@contextmanager
def frozen_process(api: Api) -> Iterator[None]:
    """A process of the service stands still in the block."""
    api.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        api.process.send_signal(signal.SIGCONT)
