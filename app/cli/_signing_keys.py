"""Commands about the keys that sign tokens: what they do, without how they are asked."""

from datetime import UTC, datetime
from typing import Any

from app.core.errors import ConfigurationError
from app.core.resilience import SystemClock
from app.core.security import Algorithm, KeyRotation, KeyStatus
from app.settings import Settings


def listed(settings: Settings) -> list[dict[str, Any]]:
    """The keys of the folder, in the order in which they sign. Raises ConfigurationError without a folder, and when it is broken."""
    return [described(status) for status in _rotation(settings).statuses()]


def rotate(settings: Settings, algorithm: Algorithm, lead_s: int) -> dict[str, Any]:
    """Add a key that signs in ``lead_s`` seconds, and remove those that are over. Raises ConfigurationError as ``KeyRotation.rotate``."""
    return described(_rotation(settings).rotate(algorithm, lead_s=lead_s))


def retire(settings: Settings, kid: str) -> list[dict[str, Any]]:
    """Remove a key at once, and answer what is left. Raises ConfigurationError as ``KeyRotation.retire``."""
    return [described(status) for status in _rotation(settings).retire(kid)]


def described(status: KeyStatus) -> dict[str, Any]:
    """For people and for JSON; times in ISO 8601, UTC."""
    until = status.verifies_until
    return {
        "kid": status.kid,
        "algorithm": status.algorithm,
        "state": status.state,
        "signs_from": _time(status.signs_from),
        "verifies_until": _time(until) if until is not None else None,
    }


def _rotation(settings: Settings) -> KeyRotation:
    if settings.token.keys_dir is None:
        raise ConfigurationError("TOKEN__KEYS_DIR is not set: it names the folder of the signing keys")
    return KeyRotation(settings.token.keys_dir, ttl_s=settings.token.ttl_s, clock=SystemClock())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
