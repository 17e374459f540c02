"""The verifier of API keys over a store that counts how often it is asked: what costs a look-up, and what must not."""

import asyncio
from ipaddress import ip_network
from uuid import UUID, uuid4

import pytest

from app.core.context import Principal
from app.core.errors import Unavailable
from app.core.resilience import ManualClock
from app.core.security import (
    ApiKeyNotLoaded,
    ApiKeyRecord,
    ApiKeys,
    InvalidApiKey,
    api_key_hash,
    new_api_key,
)

NOW = 1_800_000_000.0
HERE = "192.0.2.1"


class Shelf:
    """An ApiKeyStore with some records."""

    def __init__(self) -> None:
        self.records: dict[UUID, ApiKeyRecord] = {}
        self.asked: list[UUID] = []
        self.noted: list[str | None] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    def add(self, networks: tuple[str, ...] = (), expires_at: float = NOW + 1000) -> str:
        owner, secret_id = uuid4(), uuid4()
        text = new_api_key(owner, secret_id)
        principal = Principal(
            str(owner), api_key_id=str(uuid4()), session_id=str(secret_id), expires_at=expires_at
        )
        self.records[secret_id] = ApiKeyRecord(
            api_key_hash(text), principal, tuple(map(ip_network, networks))
        )
        return text

    async def find(self, secret_id: UUID) -> ApiKeyRecord | None:
        self.asked.append(secret_id)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.records.get(secret_id)

    def used(self, principal: Principal) -> None:
        self.noted.append(principal.api_key_id)


class Verifier:
    def __init__(self, size: int = 100) -> None:
        self.shelf = Shelf()
        self.clock = ManualClock(start=NOW)
        self.keys = ApiKeys(self.shelf, self.clock, size=size)

    async def verify(self, text: str, address: str | None = HERE) -> Principal:
        """As a gate does it."""
        try:
            return self.keys.verify(text, address)
        except ApiKeyNotLoaded as missing:
            await missing.load()
            return self.keys.verify(text, address)

    async def reason(self, text: str, address: str | None = HERE) -> str:
        with pytest.raises(InvalidApiKey) as refusal:
            await self.verify(text, address)
        assert refusal.value.detail == "The API key is not valid."
        assert refusal.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        return refusal.value.reason


@pytest.fixture
def verifier() -> Verifier:
    return Verifier()


async def test_a_key_is_looked_up_once_in_thirty_seconds(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    first = await verifier.verify(text)
    verifier.clock.advance(29.9)
    assert await verifier.verify(text) is first
    assert len(verifier.shelf.asked) == 1
    verifier.clock.advance(0.1)
    assert await verifier.verify(text) is first
    assert len(verifier.shelf.asked) == 2


async def test_junk_is_refused_without_a_look_up(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    for junk in ("sk_", "sk_x", text[:-1], f"{text}x", text[:-1] + "~", "é" * 98, text.swapcase()):
        assert await verifier.reason(junk) == "format"
    assert verifier.shelf.asked == []


async def test_a_wrong_secret_of_a_known_key_is_refused_without_a_look_up(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    principal = await verifier.verify(text)
    assert principal.session_id is not None
    forged = new_api_key(UUID(principal.id), UUID(principal.session_id))
    assert [await verifier.reason(forged) for _ in range(3)] == ["secret"] * 3
    elsewhere = new_api_key(uuid4(), UUID(principal.session_id))
    assert await verifier.reason(elsewhere) == "secret"
    assert len(verifier.shelf.asked) == 1


async def test_an_unknown_key_is_looked_up_once_and_may_come_later(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    kept = dict(verifier.shelf.records)
    verifier.shelf.records.clear()
    assert [await verifier.reason(text) for _ in range(3)] == ["key_unknown"] * 3
    assert len(verifier.shelf.asked) == 1
    verifier.shelf.records.update(kept)
    verifier.clock.advance(30)
    await verifier.verify(text)
    assert len(verifier.shelf.asked) == 2


async def test_unknown_keys_do_not_push_out_known_ones(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    await verifier.verify(text)
    for _ in range(250):
        await verifier.reason(new_api_key(uuid4(), uuid4()))
    asked = len(verifier.shelf.asked)
    await verifier.verify(text)
    assert len(verifier.shelf.asked) == asked
    assert len(verifier.keys._unknown) == 100


async def test_what_is_known_is_bounded() -> None:
    verifier = Verifier(size=3)
    texts = [verifier.shelf.add() for _ in range(5)]
    for text in texts:
        await verifier.verify(text)
    assert len(verifier.keys._known) == 3
    await verifier.verify(texts[0])
    assert len(verifier.shelf.asked) == 6


async def test_what_is_forgotten_is_looked_up_again(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    principal = await verifier.verify(text)
    verifier.shelf.records.clear()
    await verifier.verify(text)
    verifier.keys.forget(principal)
    assert await verifier.reason(text) == "key_unknown"


async def test_expiry_is_seen_at_once(verifier: Verifier) -> None:
    text = verifier.shelf.add(expires_at=NOW + 10)
    await verifier.verify(text)
    verifier.clock.advance(10)
    assert await verifier.reason(text) == "key_expired"


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (("192.0.2.0/24",), "192.0.2.200", "192.0.3.1"),
        (("192.0.2.7/32", "2001:db8::/32"), "2001:db8::5", "2001:db9::5"),
        (("2001:db8::/32",), "2001:db8:ffff::1", "192.0.2.1"),
        (("0.0.0.0/0",), "203.0.113.9", "::1"),
        (("0.0.0.0/0", "::/0"), "::1", "local"),
        (("10.0.0.0/8",), "10.1.2.3", None),
    ],
)
async def test_it_is_good_from_its_networks_only(
    verifier: Verifier, networks: tuple[str, ...], inside: str, outside: str | None
) -> None:
    text = verifier.shelf.add(networks)
    await verifier.verify(text, inside)
    assert await verifier.reason(text, outside) == "network"


async def test_many_at_once_cost_one_look_up(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    await asyncio.gather(*(verifier.verify(text) for _ in range(50)))
    assert len(verifier.shelf.asked) == 1


async def test_a_caller_who_goes_away_takes_nobody_with_him(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    verifier.shelf.gate.clear()
    gone, stays = (asyncio.create_task(verifier.verify(text)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    verifier.shelf.gate.set()
    assert (await stays).session_id is not None
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_flood_of_invented_keys_asks_for_four_at_once_and_waits_for_sixty_four(
    verifier: Verifier,
) -> None:
    verifier.shelf.gate.clear()
    tasks = [asyncio.create_task(verifier.verify(new_api_key(uuid4(), uuid4()))) for _ in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(verifier.shelf.asked) == 4
    verifier.shelf.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers].count(Unavailable) == 36
    assert [type(answer) for answer in answers].count(InvalidApiKey) == 64


async def test_an_outage_is_told_and_remembered_by_nobody(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    verifier.shelf.error = Unavailable("The database is away.")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await verifier.verify(text)
    verifier.shelf.error = None
    await verifier.verify(text)
    assert len(verifier.shelf.asked) == 3


async def test_its_use_is_noted_once_a_minute(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    principal = await verifier.verify(text)
    for _ in range(12):
        await verifier.verify(text)
        verifier.clock.advance(10)
    assert verifier.shelf.noted == [principal.api_key_id] * 2


async def test_a_refused_one_is_not_noted(verifier: Verifier) -> None:
    text = verifier.shelf.add(("10.0.0.0/8",))
    await verifier.reason(text)
    assert verifier.shelf.noted == []


async def test_neither_record_nor_error_shows_the_key(verifier: Verifier) -> None:
    text = verifier.shelf.add()
    await verifier.verify(text)
    record = next(iter(verifier.shelf.records.values()))
    assert repr(record.hash) not in repr(record)
    for shown in (str(InvalidApiKey("secret")), repr(verifier.keys), repr(record)):
        assert text not in shown
        assert text[49:] not in shown
