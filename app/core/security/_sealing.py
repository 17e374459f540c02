"""Sealing: bytes that only we can read, and only for the purpose they were sealed for.

A sealed value is ``version (1) | key id (8) | nonce (12) | ciphertext and tag``. AES-256-GCM, with a key that HKDF-SHA256 derives from
each configured one, and a random nonce: NIST SP 800-38D allows 2**32 values under one key before it must be replaced.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.security._errors import DecryptionFailed
from app.core.security._key_material import checked_keys, derive

_VERSION = b"\x01"
_ID, _NONCE, _TAG = 8, 12, 16
_HEAD = len(_VERSION) + _ID
_OVERHEAD = _HEAD + _NONCE + _TAG


class SealBroken(DecryptionFailed):
    """A sealed value cannot be opened: another key, another context, or somebody changed it. Which of these is not told."""

    def __init__(self) -> None:
        super().__init__("A sealed value cannot be opened.")


class Sealer:
    """Seals with the first of ``keys`` and opens with any of them: put a new key in front, and take the old one out when nothing that
    it sealed is needed any more.

    keys: random texts of 32 bytes or more (``openssl rand -base64 32``), never passwords: nothing slows down guessing. Raises
        ConfigurationError when there is none, or one is shorter.

    ``context`` says what the bytes are and whose (purpose, policy, owner, key): it is authenticated, not stored, so a sealed value that
    is moved to another place does not open there. For bytes that are kept for a while (cache, results); texts that are stored for good, and
    that ``keys rotate`` re-encrypts, go through DataEncryptor. Not for passwords (PasswordHasher).
    Immutable; may be shared by threads and inherited by forked processes.
    """

    __slots__ = ("_ciphers", "_newest")

    def __init__(self, keys: Sequence[str]) -> None:
        # Derived keys stay inside the cipher objects; the configured ones are not kept at all.
        derived = [_derive(key) for key in checked_keys(keys)]
        self._ciphers = {identity: AESGCM(material) for identity, material in derived}
        self._newest = derived[0][0]

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Encrypt and authenticate ``data`` for ``context``; 37 bytes longer, and different each time."""
        head, nonce = _VERSION + self._newest, os.urandom(_NONCE)
        return head + nonce + self._ciphers[self._newest].encrypt(nonce, data, head + context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed for ``context``. Raises SealBroken for anything that we did not seal, or not for this."""
        head, nonce = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE]
        cipher = self._ciphers.get(head[1:])
        if cipher is None or head[:1] != _VERSION or len(sealed) < _OVERHEAD:
            raise SealBroken
        try:
            return cipher.decrypt(nonce, sealed[_HEAD + _NONCE :], head + context)
        except InvalidTag:
            raise SealBroken from None

    def __repr__(self) -> str:
        return f"<Sealer with {len(self._ciphers)} keys>"


def _derive(material: bytes) -> tuple[bytes, bytes]:
    """The key's id, which tells nothing about it, and the AES key."""
    output = derive(material, b"gatehouse sealing v1", _ID + 32)
    return output[:_ID], output[_ID:]
