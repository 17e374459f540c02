"""Limits against guessing, on a real store: exact, and of no use to keep an owner out."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.builtin.accounts.service import DeviceTokens, KnownPlaces, SignInGuard, SignInLimits
from app.builtin.accounts.service.sign_in_guard import Entry
from app.core.context import Principal
from app.core.errors import Unavailable
from app.core.policies import ADMIT, Admitter, Caller, Plan, RateLimitExceeded
from app.core.resilience import ManualClock
from app.core.valkey import Script, ValkeyClient

SECRET = b"a secret of these tests"
LONG = 31_000
HASH, OTHER_HASH = "$argon2id$of-the-password", "$argon2id$of-another-password"
HOME, AWAY = "192.0.2.1", "198.51.100.1"
# Waits are so long that none is over while a test runs, on however slow a machine.
STRICT = SignInLimits(
    per_account=3, per_network=8, window_s=LONG, delay_after=4, delay_s=LONG, delay_max_s=LONG, per_device=2
)


class Door:
    """The guard of one process, and what comes to it."""

    def __init__(self, store: ValkeyClient, clock: ManualClock | None = None) -> None:
        self.store = store
        self.clock = clock or ManualClock(start=1_800_000_000)
        self.password_hash: str | None = HASH
        self.reads = 0
        self.guard = SignInGuard(
            Admitter(store, clock=self.clock),
            KnownPlaces(store, secret=SECRET, life_s=LONG, most=2),
            DeviceTokens(secret=SECRET, life_s=LONG, clock=self.clock),
            STRICT,
            secret=SECRET,
        )

    async def attempt(self, account: str = "ann", network: str = HOME, device: str | None = None) -> Entry:
        return await self.guard.enter(self.guard.visit(account, network, device), self._current_hash)

    async def passes(self, account: str = "ann", network: str = HOME, device: str | None = None) -> bool:
        try:
            await self.attempt(account, network, device)
        except RateLimitExceeded:
            return False
        return True

    async def sign_in(self, account: str = "ann", network: str = HOME, device: str | None = None) -> str:
        return await (await self.attempt(account, network, device)).succeeded(HASH)

    async def besiege(self, account: str = "ann") -> None:
        """Attempts from ever other networks, until no stranger is let in."""
        number = 0
        while await self.passes(account, f"203.0.113.{number}"):
            number += 1
            assert number <= STRICT.delay_after

    async def _current_hash(self) -> str | None:
        self.reads += 1
        return self.password_hash


@pytest.fixture
async def door(store: ValkeyClient, clean_store: None) -> Door:
    return Door(store)


class TestStrangers:
    async def test_one_network_has_a_few_attempts_on_an_account_and_others_have_theirs(
        self, door: Door
    ) -> None:
        assert [await door.passes() for _ in range(5)] == [True, True, True, False, False]
        with pytest.raises(RateLimitExceeded) as refused:
            await door.attempt()
        assert refused.value.violated == ("account",)
        assert await door.passes("ann", AWAY)
        assert await door.passes("bob")

    async def test_one_network_has_some_attempts_on_all_accounts_together(self, door: Door) -> None:
        tried = [await door.passes(f"user-{n}") for n in range(STRICT.per_network + 2)]
        assert tried == [True] * STRICT.per_network + [False] * 2
        with pytest.raises(RateLimitExceeded) as refused:
            await door.attempt("user-1000")
        assert refused.value.violated == ("network",)
        assert await door.passes("user-1000", AWAY)

    async def test_an_account_that_many_networks_try_makes_strangers_wait(self, door: Door) -> None:
        await door.besiege()
        with pytest.raises(RateLimitExceeded) as refused:
            await door.attempt("ann", AWAY)
        assert refused.value.violated == ("delay_1",)
        assert refused.value.retry_after is not None
        assert refused.value.retry_after > 0.9 * LONG
        assert await door.passes("bob", AWAY)

    async def test_parallel_attempts_in_two_processes_stop_exactly_at_the_limit(
        self, door: Door, valkey_url: str
    ) -> None:
        client = ValkeyClient(valkey_url, timeout_s=5)
        other = Door(client)
        passed = await asyncio.gather(*((door, other)[n % 2].passes() for n in range(40)))
        await client.close()
        assert sum(passed) == STRICT.per_account

    async def test_what_is_refused_is_charged_to_nobody(self, door: Door) -> None:
        for _ in range(STRICT.per_account + 20):
            await door.passes()
        # Only what was let through counts for the account, so that hammering at it does not add to the delay.
        assert [await door.passes("ann", AWAY) for _ in range(2)] == [True, False]

    async def test_no_name_address_or_device_stands_in_the_store(
        self, door: Door, store: ValkeyClient
    ) -> None:
        token = await door.sign_in("ann@example.com", HOME)
        keys = await store.execute("KEYS", "*")
        known = [await store.execute("ZRANGE", key, "0", "-1") for key in keys if b"known" in key]
        assert len(known) == 2
        assert not [key for key in keys if b"ann" in key]
        assert token.encode() not in b"".join(one for some in known for one in some)
        assert HOME.encode() not in b"".join(one for some in known for one in some)
        lives = [await store.execute("PTTL", key) for key in keys]
        assert all(int(life) > 0 for life in lives)


class TestTheOwner:
    async def test_who_mistypes_twice_and_then_signs_in_has_all_attempts_again(self, door: Door) -> None:
        for _ in range(4):
            for _ in range(STRICT.per_account - 1):
                await door.attempt()
            await door.sign_in()
        assert [await door.passes() for _ in range(4)] == [True, True, True, False]

    async def test_a_good_password_forgives_no_attempts_from_elsewhere(self, door: Door) -> None:
        for n in range(3):
            await door.attempt("ann", f"203.0.113.{n}")
        await door.sign_in()
        assert await door.passes("ann", AWAY)
        with pytest.raises(RateLimitExceeded) as refused:
            await door.attempt("ann", "198.51.100.2")
        assert refused.value.violated == ("delay_1",)

    async def test_a_good_password_of_his_own_does_not_let_a_sprayer_go_on(self, door: Door) -> None:
        for n in range(STRICT.per_network - 1):
            await door.attempt(f"user-{n}")
        await door.sign_in("mallory")
        assert [await door.passes("bob"), await door.passes("cid")] == [True, False]

    async def test_from_his_own_network_he_signs_in_under_attack(self, door: Door) -> None:
        await door.sign_in(network=HOME)
        await door.besiege()
        assert not await door.passes("ann", AWAY)
        for _ in range(10):
            await door.sign_in(network=HOME)

    async def test_his_own_network_has_no_more_guesses_than_any_other(self, door: Door) -> None:
        await door.sign_in(network=HOME)
        await door.besiege()
        assert [await door.passes() for _ in range(4)] == [True, True, True, False]

    async def test_on_a_known_device_he_signs_in_from_anywhere_under_attack(self, door: Door) -> None:
        token = await door.sign_in(network=HOME)
        await door.besiege()
        for n in range(10):
            token = await door.sign_in("ann", f"198.51.100.{n}", token)

    async def test_on_a_known_device_he_signs_in_though_his_network_sprays(self, door: Door) -> None:
        token = await door.sign_in(network=HOME)
        for n in range(STRICT.per_network):
            await door.passes(f"user-{n}")
        for _ in range(3):
            await door.passes()
        assert not await door.passes()
        await door.sign_in(device=token)

    async def test_without_an_attack_his_password_hash_is_not_read_beforehand(self, door: Door) -> None:
        await door.sign_in(device=await door.sign_in())
        assert door.reads == 0


class TestKnownDevices:
    @pytest.fixture
    async def token(self, door: Door) -> str:
        token = await door.sign_in(network=HOME)
        await door.besiege()
        return token

    async def test_a_stolen_token_gives_few_guesses(self, door: Door, token: str) -> None:
        tried = [await door.passes("ann", AWAY, token) for _ in range(4)]
        assert tried == [True] * STRICT.per_device + [False] * 2

    async def test_a_thief_of_it_does_not_shut_out_its_owner_at_home(self, door: Door, token: str) -> None:
        while await door.passes("ann", AWAY, token):
            pass
        await door.sign_in("ann", HOME, token)
        await door.sign_in("ann", HOME)

    async def test_it_is_over_with_the_password(self, door: Door, token: str) -> None:
        door.password_hash = OTHER_HASH
        assert not await door.passes("ann", AWAY, token)
        door.password_hash = None
        assert not await door.passes("ann", AWAY, token)

    async def test_it_is_over_in_time(self, door: Door, token: str) -> None:
        door.clock.advance(LONG)
        assert not await door.passes("ann", AWAY, token)

    async def test_it_is_of_no_use_for_another_account(self, door: Door, token: str) -> None:
        await door.besiege("bob")
        assert not await door.passes("bob", AWAY, token)

    async def test_the_longest_unused_of_too_many_is_forgotten(self, door: Door, token: str) -> None:
        second, third = [await door.sign_in(network=HOME) for _ in range(2)]
        assert not await door.passes("ann", AWAY, token)
        assert await door.passes("ann", AWAY, second)
        assert await door.passes("ann", AWAY, third)

    async def test_one_device_is_one_however_often_it_signs_in(self, door: Door, token: str) -> None:
        other = await door.sign_in(network=HOME)
        for _ in range(5):
            other = await door.sign_in("ann", HOME, other)
        assert await door.passes("ann", AWAY, token)

    @pytest.mark.parametrize(
        "forged", ["", ".", "1.a.9999999999.b.c", "\ud800", "é", "x" * 300, "1.2.3", "....", "{0}x", "x{0}"]
    )
    async def test_any_other_text_is_a_stranger_s_and_reads_nothing(
        self, door: Door, token: str, forged: str
    ) -> None:
        assert not await door.passes("ann", AWAY, forged.replace("{0}", token))
        assert door.reads == 0

    async def test_every_part_of_it_is_signed(self, door: Door, token: str) -> None:
        parts = token.split(".")
        for n in range(4):
            changed = [*parts[:n], parts[n][:-1] + ("1" if parts[n][-1] != "1" else "2"), *parts[n + 1 :]]
            assert not await door.passes("ann", AWAY, ".".join(changed))
        assert door.reads == 0

    async def test_it_says_nothing_of_the_account_and_is_a_new_one_for_each_device(self, door: Door) -> None:
        tokens = {await door.sign_in("ann@example.com") for _ in range(3)}
        assert len({token.split(".")[1] for token in tokens}) == 3
        assert not any("ann" in token or "argon" in token for token in tokens)


class TestWithoutTheStore:
    @pytest.fixture
    async def shut(self) -> AsyncIterator[Door]:
        store = ValkeyClient("valkey://127.0.0.1:1")
        yield Door(store)
        await store.close()

    async def test_every_attempt_is_a_503_also_on_a_known_device(self, door: Door, shut: Door) -> None:
        token = await door.sign_in()
        for device in (None, token):
            with pytest.raises(Unavailable) as refused:
                await shut.attempt(device=device)
            assert refused.value.status == 503

    async def test_who_was_let_in_before_is_signed_in_although_his_place_is_not_remembered(
        self, door: Door, shut: Door
    ) -> None:
        visit = door.guard.visit("ann", HOME, None)
        assert await shut.guard.welcome(visit, HASH)


async def test_the_delay_doubles_up_to_its_cap_and_is_gone_after_a_rest(
    store: ValkeyClient, clean_store: None
) -> None:
    """The real script at chosen times: each attempt is made as soon as it may be."""
    source = ADMIT.source.replace("local t = redis.call('TIME')", "").replace(
        "local now = t[1] * 1000000 + t[2]", "local now = tonumber(ARGV[1])"
    )
    script = Script("admit_at", source)
    plan = Plan("tests", SignInLimits().delays(10))
    keys, now, calls = plan.keys(Caller(Principal("ann"), "")), 1_800_000_000_000_000, 0

    async def wait_us() -> int:
        """How long the next attempt has to wait; 0: it was let in."""
        nonlocal calls
        calls += 1
        values: tuple[bytes | int, ...] = (now, plan.size, *plan.arguments(plan.costs))
        reply = await store.run(script, [f"{{u:ann}}:v1:r:{calls}", *keys], values)
        numbers = [int(part) for part in reply.split()]
        return max(numbers[6::4]) if numbers[0] else 0

    waits = []
    for _ in range(26):
        waited = await wait_us()
        now += waited
        if waited:
            assert await wait_us() == 0
        waits.append(round(waited / 1_000_000))
    assert waits[:10] == [0] * 10
    assert waits[10:] == [2, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512, 652, 900, 900, 900]
    now += 30 * 900 * 1_000_000
    assert [await wait_us() for _ in range(10)] == [0] * 10


async def test_on_a_cluster_the_limits_and_what_is_forgiven_are_the_same(cluster: ValkeyClient) -> None:
    door = Door(cluster)
    token = await door.sign_in()
    for _ in range(STRICT.per_account - 1):
        await door.attempt()
    await door.sign_in(device=token)
    await door.besiege()
    assert not await door.passes("ann", AWAY)
    assert [await door.passes() for _ in range(4)] == [True, True, True, False]
    assert await door.passes("ann", AWAY, token)
