"""What stands before a sign-in: limits against guessing, which nobody can use to keep somebody else out."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

import structlog

from app.builtin.accounts.service.device_token import Device, DeviceTokens
from app.builtin.accounts.service.known_places import KnownPlaces
from app.core.policies import Admitter, AttemptLimit, RateLimit, RateLimitExceeded, Spent
from app.core.valkey import StoreError

CurrentHash = Callable[[], Awaitable[str | None]]
_POLICY, _NEAR, _DELAY = "auth_token", "account", "delay"
_FACTOR, _STEP = 4, 2
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLimits:
    """Attempts, and seconds.

    ``per_account``: of one network on one account in ``window_s``; ``per_network``: of one network on all accounts in it.
    ``delay_after``: of all networks together on one account; from then on they must wait, ``delay_s`` at first, about twice as long
    after each further attempt, and ``delay_max_s`` at most. ``per_device``: of a known device, before it must wait in the same way.
    """

    per_account: int = 5
    per_network: int = 50
    window_s: int = 900
    delay_after: int = 10
    delay_s: int = 2
    delay_max_s: int = 900
    per_device: int = 5

    def near(self) -> list[RateLimit]:
        """What counts for a network."""
        window = partial(
            RateLimit.sliding_window, window=self.window_s, charge="admit", on_store_down="closed"
        )
        return [
            window(_NEAR, limit=self.per_account, scope=("user", "ip")),
            window("network", limit=self.per_network, scope="ip"),
        ]

    def delays(self, burst: int) -> list[RateLimit]:
        """A wait that grows with the attempts that were let through, and falls again with time: each limit has room for a few attempts
        more than the one before, and gets it back more slowly. After a long rest the room is as it was.
        """
        return [
            RateLimit.token_bucket(
                f"{_DELAY}_{number}", max_tokens=burst + _STEP * (number - 1), refill_rate=1 / wait_s,
                charge="admit", on_store_down="closed",
            )
            for number, wait_s in enumerate(self._waits(), start=1)
        ]  # fmt: skip

    def _waits(self) -> Iterator[int]:
        wait_s = self.delay_s
        while wait_s < self.delay_max_s:
            yield wait_s
            wait_s *= _FACTOR
        yield self.delay_max_s


@dataclass(frozen=True, slots=True)
class Visit:
    """Who wants to sign in: the account's key, the client's network, and what his browser brought. Not yet known to be anybody."""

    account: str
    network: str
    device: Device | None


class Entry:
    """An attempt that may verify its password."""

    def __init__(self, guard: "SignInGuard", visit: Visit, spent: Spent, counted_by: str) -> None:
        self._guard = guard
        self._visit = visit
        self._spent = spent
        self._counted_by = counted_by

    async def forgive(self) -> None:
        """The password was right: what was mistyped from here does not count. Of somebody who is signed in already."""
        await self._spent.give_back(self._spent.outstanding(self._counted_by))

    async def succeeded(self, password_hash: str) -> str:
        """The password was right. Forgives what was mistyped from here, remembers the place, and gives the device's token."""
        await self.forgive()
        return await self._guard.welcome(self._visit, password_hash)


class SignInGuard:
    """Decides, before anything is known of the account, whether an attempt may be made: one round trip, atomic, counted per attempt.

    A stranger is counted by account and network, by network, and by account. Under attack, when that refuses, a device or network from
    which the account was signed in to lately is asked again: the device has only limits of its own, the network is free of the account's
    delay. So whoever attacks from many networks slows strangers down, and never its owner where he is known.

    While the store does not answer every attempt is refused with 503.
    """

    def __init__(
        self,
        admitter: Admitter,
        places: KnownPlaces,
        devices: DeviceTokens,
        limits: SignInLimits,
        *,
        secret: bytes,
    ) -> None:
        self._places = places
        self._devices = devices
        near, delays = limits.near(), limits.delays(limits.delay_after)
        own = limits.delays(limits.per_device)
        self._slowest = own[-1].name
        self._as_stranger = AttemptLimit(admitter, _POLICY, *near, *delays, secret=secret)
        self._in_network = AttemptLimit(admitter, _POLICY, *near, secret=secret)
        self._on_device = AttemptLimit(admitter, f"{_POLICY}_device", *own, secret=secret)

    @property
    def device_life_s(self) -> int:
        """Seconds that a device's token is good for."""
        return self._devices.life_s

    def visit(self, account: str, network: str, device_token: str | None) -> Visit:
        """The attempt, described."""
        return Visit(account, network, self._devices.read(account, device_token))

    async def enter(self, visit: Visit, current_hash: CurrentHash) -> Entry:
        """Charge the attempt. ``current_hash`` reads the account's password hash; it is called only for who brings a device's token.

        Raises ``RateLimitExceeded`` (429), and ``LimitUnavailable`` or ``StoreError`` (503).
        """
        try:
            spent = await self._as_stranger.spend(visit.account, visit.network)
        except RateLimitExceeded as refused:
            return await self._as_known(visit, refused, current_hash)
        return Entry(self, visit, spent, _NEAR)

    async def _as_known(self, visit: Visit, refused: RateLimitExceeded, current_hash: CurrentHash) -> Entry:
        """The same attempt on a device, else in a network, that the account knows. Raises ``refused`` for a stranger."""
        device, only_waits = visit.device, all(name.startswith(_DELAY) for name in refused.violated)
        known = await self._places.recall(visit.account, device.id if device else None, visit.network)
        if device is not None and known.device and await self._is_bound(device, current_hash):
            try:
                spent = await self._on_device.spend(f"{visit.account}|{device.id}")
            except RateLimitExceeded as tried_too_often:
                # Perhaps by a thief of the token, elsewhere: that must not shut the owner's own network.
                refused = tried_too_often
            else:
                return Entry(self, visit, spent, self._slowest)
        if known.network and only_waits:
            return Entry(self, visit, await self._in_network.spend(visit.account, visit.network), _NEAR)
        raise refused

    async def _is_bound(self, device: Device, current_hash: CurrentHash) -> bool:
        password_hash = await current_hash()
        return password_hash is not None and self._devices.binding(password_hash) == device.binding

    async def welcome(self, visit: Visit, password_hash: str) -> str:
        """Remember where the account was signed in to."""
        device, token = self._devices.issue(visit.account, password_hash, visit.device)
        try:
            await self._places.remember(visit.account, device.id, visit.network)
        except StoreError as error:  # He is signed in all the same; next time he is a stranger.
            _log.warning("sign_in.place_not_remembered", error=type(error).__name__)
        return token
