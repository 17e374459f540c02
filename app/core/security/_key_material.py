"""Keys as they are configured, made into keys that ciphers take. Every kind of encryption derives its own, so no two share one."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.core.errors import ConfigurationError

MIN_KEY_BYTES = 32


def checked_keys(keys: Sequence[str]) -> list[bytes]:
    """The configured texts, newest first, as bytes. Raises ConfigurationError when there is none or one has fewer than 32 bytes."""
    if isinstance(keys, str) or not keys:
        raise ConfigurationError("Encryption needs a list of at least one key: set ENCRYPTION_KEYS.")
    material = [key.encode() for key in keys]
    if any(len(key) < MIN_KEY_BYTES for key in material):
        raise ConfigurationError(f"An encryption key has {MIN_KEY_BYTES} bytes or more: see ENCRYPTION_KEYS.")
    return material


def derive(material: bytes, info: bytes, length: int) -> bytes:
    """``length`` bytes for the use that ``info`` names (HKDF-SHA256, RFC 5869); another ``info`` gives bytes that tell nothing of these."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(material)
