"""Drives a route to every refusal that its policy can produce, and finds those that cannot be reached.

What can be produced follows from the policy in force; how to ask follows from one sample request per route. A route whose 401, 403, 429,
402, 409 or 304 nobody can reach has a policy that does nothing, or a sample that is wrong.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx2

from app.core.http import Platform
from app.core.policies import JobConfig

MOST_TRIES = 2_000
Bearer = Callable[..., Mapping[str, str]]


class Unreached(AssertionError):
    """A status that the policy can produce was not seen; says what was."""


@dataclass(frozen=True)
class Sample:
    """A request that the route takes: ``path`` exists for the caller, ``spare`` need not (for what would do damage when repeated).

    ``body``: keywords of the client, such as ``json=...``. ``exists``: False where a sample of the path would have to be made first;
    what is not there is never unchanged, so 304 is not asked for then.
    """

    method: str
    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    spare: str | None = None
    exists: bool = True

    def producible(self, config: JobConfig) -> set[int]:
        """What a policy can answer to this request."""
        return producible(config, self.method) - (set() if self.exists else {304})


def producible(config: JobConfig, method: str) -> set[int]:
    """Those of 401, 403, 429, 402, 409 and 304 that a policy can answer to this method."""
    found = {401}
    if config.security.scopes or config.security.roles:
        found.add(403)
    if not config.shadow:
        if not all(limit.shadow for limit in config.limits) or not all(
            quota.shadow for quota in config.quotas
        ):
            found.add(429)
        if any(slot.scope in {"user", "tenant"} for slot in config.slots):
            found.add(429)
        if config.credits is not None and config.credits.cost != 0:
            found.add(402)
    if config.idempotency is not None and method in config.idempotency.methods:
        found.add(409)
    if config.cache is not None and method in {"GET", "HEAD"}:
        found.add(304)
    return found


@dataclass
class Driver:
    """Asks one application. ``bearer(user, scopes, roles)`` makes a caller's headers; without scopes and roles he has every right.

    ``owner`` is whom the samples belong to; where credits are asked for he needs some.
    """

    client: httpx2.AsyncClient
    platform: Platform
    bearer: Bearer
    owner: UUID

    async def drive(self, config: JobConfig, sample: Sample) -> dict[int, httpx2.Response]:
        """An answer of every producible status. Raises Unreached with all that were not seen."""
        reached, missing = {}, []
        for status in sorted(sample.producible(config)):
            await self.platform.store.execute("FLUSHDB")  # each status from a fresh start
            try:
                reached[status] = await self._reach(status, config, sample)
            except Unreached as lack:
                missing.append(str(lack))
        if missing:
            raise Unreached("; ".join(missing))
        return reached

    async def _reach(self, status: int, config: JobConfig, sample: Sample) -> httpx2.Response:
        ways: dict[int, Callable[[JobConfig, Sample], AsyncIterator[httpx2.Response]]] = {
            401: self._with_a_bad_token,
            403: self._without_rights,
            429: self._too_often,
            402: self._without_credits,
            409: self._at_once_with_one_key,
            304: self._with_its_etag,
        }
        seen: dict[int, int] = {}
        async for answer in ways[status](config, sample):
            if answer.status_code == status:
                return answer
            seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        raise Unreached(f"{sample.method} {sample.path}: no {status}; seen, with how often: {seen}")

    async def _with_a_bad_token(self, _: JobConfig, sample: Sample) -> AsyncIterator[httpx2.Response]:
        yield await self._ask(sample, {"Authorization": "Bearer no.such.token"})

    async def _without_rights(self, _: JobConfig, sample: Sample) -> AsyncIterator[httpx2.Response]:
        yield await self._ask(sample, self.bearer(self.owner, (), ()))

    async def _too_often(self, config: JobConfig, sample: Sample) -> AsyncIterator[httpx2.Response]:
        for _ in range(_tries(config)):
            yield await self._ask(sample, self.bearer(self.owner), repeatable=True)
        most = max((slot.max for slot in config.slots), default=0)
        async for answer in _each(
            self._ask(sample, self.bearer(self.owner), repeatable=True)
            for _ in range(most + 1 if most else 0)
        ):
            yield answer

    async def _without_credits(self, _: JobConfig, sample: Sample) -> AsyncIterator[httpx2.Response]:
        yield await self._ask(sample, self.bearer(uuid4()))

    async def _at_once_with_one_key(self, _: JobConfig, sample: Sample) -> AsyncIterator[httpx2.Response]:
        headers = {**self.bearer(self.owner), "Idempotency-Key": str(uuid4())}
        async for answer in _each([self._ask(sample, headers) for _ in range(3)]):
            yield answer

    async def _with_its_etag(self, _: JobConfig, sample: Sample) -> AsyncIterator[httpx2.Response]:
        first = await self._ask(sample, self.bearer(self.owner))
        if "etag" not in first.headers:
            yield first
            return
        headers = {**self.bearer(self.owner), "If-None-Match": first.headers["etag"]}
        yield await self._ask(sample, headers)

    async def _ask(
        self, sample: Sample, headers: Mapping[str, str], *, repeatable: bool = False
    ) -> httpx2.Response:
        """``repeatable``: in a way that changes nothing, so that it can be done a thousand times."""
        path, body = sample.path, dict(sample.body)
        sent = {"Idempotency-Key": str(uuid4()), **headers}
        if sample.spare is not None and (repeatable or sample.method == "DELETE"):
            path = sample.spare
        if repeatable and body:
            body = {"content": b"{"}
            sent["Content-Type"] = "application/json"
        return await self.client.request(sample.method, path, headers=sent, **body)


def _tries(config: JobConfig) -> int:
    """As many requests as the tightest limit or quota lets through, and what refills meanwhile."""
    rooms = [limit.largest_cost for limit in config.limits if not limit.shadow]
    rooms += [quota.limit_of("default") for quota in config.quotas if not quota.shadow]
    return min(2 * min(rooms) + 20, MOST_TRIES) if rooms else 0


async def _each(calls: Iterable[Awaitable[httpx2.Response]]) -> AsyncIterator[httpx2.Response]:
    """All at once."""
    for answer in await asyncio.gather(*calls):
        yield answer
