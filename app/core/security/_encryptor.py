"""Texts that only we can read, for as long as they are stored: Fernet tokens under the first of several keys, opened by any of them.

Fernet (https://github.com/fernet/spec) is AES-128-CBC with HMAC-SHA256, a random IV and the time of writing. The key of each token is
derived (HKDF-SHA256) from a configured one and from the purpose, so that a token that is moved to another purpose does not open there.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from time import perf_counter
from typing import Literal, NoReturn

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.core.errors import ConfigurationError
from app.core.observability import count_encryption
from app.core.security._errors import DecryptionFailed
from app.core.security._key_material import checked_keys, derive

_REASON = "An encrypted text cannot be read: no key of ENCRYPTION_KEYS opens it for this purpose, or it was changed."


class _Ring:
    """Several keys, newest first, and what was derived from them for each purpose. The configured texts are not kept."""

    __slots__ = ("_made", "_roots", "ids")

    def __init__(self, keys: Sequence[str]) -> None:
        material = list(dict.fromkeys(checked_keys(keys)))
        self._roots = [derive(key, b"gatehouse fernet v1", 32) for key in material]
        self.ids = tuple([derive(key, b"gatehouse fernet id v1", 4).hex() for key in material])
        self._made: dict[str, tuple[Fernet, MultiFernet]] = {}

    def ciphers(self, purpose: str) -> tuple[Fernet, MultiFernet]:
        """The newest cipher of a purpose, and all of them as one."""
        made = self._made.get(purpose)
        if made is None:
            info = b"purpose " + purpose.encode()
            fernets = [Fernet(urlsafe_b64encode(derive(root, info, 32))) for root in self._roots]
            made = self._made[purpose] = (fernets[0], MultiFernet(fernets))
        return made


class _Default:
    """The keys that a door named for the whole process."""

    ring: _Ring | None = None


class DataEncryptor:
    """Encrypts texts with the first of ``keys`` and decrypts with any of them.

    keys: as ENCRYPTION_KEYS, newest first, 32 bytes or more each, random (``openssl rand -base64 32``). None: those that a door configured
        (``configure_encryption``). Raises ConfigurationError when there are none, or one is too short.
    purpose: what the texts are (``users.phone``); one that was encrypted for another purpose does not open. Part of the key: never
        change it while texts are stored. Written in code, not taken from requests: ``for_purpose`` remembers each.

    To change keys put a new one in front, run ``python -m app keys rotate``, then take the old one out. 100 bytes longer or more, a
    third for long texts; equal texts become different tokens, so an encrypted text can be neither searched nor sorted. Not for passwords
    (PasswordHasher), and bytes that are kept for a while go through Sealer. Immutable; may be shared by threads and forked processes.
    """

    __slots__ = ("_ciphers", "_newest", "_ring", "purpose")

    def __init__(self, keys: Sequence[str] | None = None, *, purpose: str = "") -> None:
        self._ring = _default() if keys is None else _Ring(keys)
        self.purpose = purpose
        self._newest, self._ciphers = self._ring.ciphers(purpose)

    @property
    def key_id(self) -> str:
        """Eight characters that name the newest key and tell nothing about it."""
        return self._ring.ids[0]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The same of every key, newest first."""
        return self._ring.ids

    def for_purpose(self, purpose: str) -> "DataEncryptor":
        """The same keys for texts of another purpose."""
        other = object.__new__(DataEncryptor)
        other._ring, other.purpose = self._ring, purpose
        other._newest, other._ciphers = self._ring.ciphers(purpose)
        return other

    def encrypt(self, text: str) -> str:
        """``text`` as a token of printable ASCII, different each time. Raises TypeError for anything that is no text."""
        if not isinstance(text, str):
            raise TypeError(f"DataEncryptor encrypts texts, not {type(text).__name__}")
        started = perf_counter()
        token = self._newest.encrypt(text.encode("utf-8", "surrogatepass")).decode("ascii")
        count_encryption("encrypt", perf_counter() - started, ok=True)
        return token

    def decrypt(self, token: str) -> str:
        """The text. Raises DecryptionFailed for what none of our keys encrypted for this purpose, and for what was changed since."""
        started = perf_counter()
        try:
            data = self._ciphers.decrypt(_canonical(token))
        except InvalidToken:
            _fail("decrypt", started)
        count_encryption("decrypt", perf_counter() - started, ok=True)
        return data.decode("utf-8", "surrogatepass")

    # The documents' names.
    encrypt_data = encrypt
    decrypt_data = decrypt

    def rotate(self, token: str) -> str:
        """The same text, and its time of writing, under the newest key. Raises DecryptionFailed as ``decrypt`` does."""
        started = perf_counter()
        try:
            rotated = self._ciphers.rotate(_canonical(token)).decode("ascii")
        except InvalidToken:
            _fail("rotate", started)
        count_encryption("rotate", perf_counter() - started, ok=True)
        return rotated

    def __repr__(self) -> str:
        return f"<DataEncryptor for {self.purpose!r} with {len(self.key_ids)} keys>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A DataEncryptor holds keys and cannot be pickled or copied")


def configure_encryption(keys: Sequence[str] | None) -> None:
    """Set the keys of ``DataEncryptor()`` and of encrypted columns for this process. Called by doors; none (or None) forgets them."""
    _Default.ring = _Ring(keys) if keys else None


def _default() -> _Ring:
    if _Default.ring is None:
        raise ConfigurationError(
            "No encryption keys are configured in this process: a door (create_app, CLI, load_environment_files) does that from "
            "ENCRYPTION_KEYS"
        )
    return _Default.ring


def _canonical(token: str) -> bytes:
    """The token's bytes. Fernet's decoder skips what is not base64; here one text is one token."""
    if not isinstance(token, str):
        raise TypeError(f"DataEncryptor decrypts texts, not {type(token).__name__}")
    try:
        data = token.encode("ascii")
        if urlsafe_b64encode(urlsafe_b64decode(data)) != data:
            raise InvalidToken
    except ValueError:
        raise InvalidToken from None
    return data


def _fail(operation: Literal["decrypt", "rotate"], started: float) -> NoReturn:
    count_encryption(operation, perf_counter() - started, ok=False)
    raise DecryptionFailed(_REASON) from None
