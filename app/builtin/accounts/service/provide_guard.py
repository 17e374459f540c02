"""What stands before a sign-in, made out of the service's settings."""

from typing import Protocol

from app.builtin.accounts.service.device_token import DeviceTokens
from app.builtin.accounts.service.known_places import KnownPlaces
from app.builtin.accounts.service.sign_in_guard import SignInGuard, SignInLimits
from app.core.http import Platform


class LoginLimits(Protocol):
    """The settings under ``LOGIN__``."""

    per_account: int
    per_network: int
    account_window_s: int
    delay_after: int
    delay_s: int
    delay_max_s: int
    device_days: int
    devices: int


def sign_in_guard(platform: Platform, login: LoginLimits, secret: str) -> SignInGuard:
    """The guard of one application."""
    key, life_s = secret.encode(), login.device_days * 86_400
    limits = SignInLimits(
        per_account=login.per_account,
        per_network=login.per_network,
        window_s=login.account_window_s,
        delay_after=login.delay_after,
        delay_s=min(login.delay_s, login.delay_max_s),
        delay_max_s=login.delay_max_s,
        per_device=login.per_account,
    )
    return SignInGuard(
        platform.admitter,
        KnownPlaces(platform.store, secret=key, life_s=life_s, most=login.devices),
        DeviceTokens(secret=key, life_s=life_s, clock=platform.clock),
        limits,
        secret=key,
    )
