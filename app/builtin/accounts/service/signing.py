"""The keys that sign and verify our own tokens."""

from collections.abc import Sequence
from pathlib import Path

from app.core.errors import ConfigurationError
from app.core.resilience import Clock
from app.core.security import KeyFolder, KeySource, TokenKey


def token_keys(
    secrets: Sequence[str], folder: Path | None, *, ttl_s: int, clock: Clock
) -> Sequence[TokenKey] | KeySource:
    """The secrets, of which the first signs; or the folder (``TOKEN__KEYS_DIR``), whose keys follow them.

    Raises ConfigurationError for a secret that is too short and a folder that cannot serve.
    """
    keys = [TokenKey.from_secret(secret) for secret in secrets]
    if folder is None:
        return keys
    try:
        return KeyFolder(folder, ttl_s=ttl_s, clock=clock, secrets=keys)
    except ConfigurationError as error:
        raise ConfigurationError(f"TOKEN__KEYS_DIR: {error}") from None
