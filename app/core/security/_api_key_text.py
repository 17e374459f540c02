"""The text of an API key: ``sk_<partition>_<id>_<secret><checksum>``, 98 characters.

The partition is the owner's id, so that a process knows from the text alone in which slot of the store his limits and his epoch stand;
``id`` names the secret, not the key, which keeps its own when its secret is changed. All parts are base62 of fixed width, and the last
six characters are a CRC32 of everything before them: a misspelt or invented text is refused without asking anybody, and scanners for
leaked secrets have something to go by (github.blog, "Behind GitHub's new authentication token formats", 2021). The checksum is no
secret; what cannot be guessed are the 256 random bits of the secret, which therefore need no slow hash (SHA-256).
"""

import re
import secrets
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from app.core.security._errors import InvalidApiKey

API_KEY_PREFIX = "sk_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_ID, _SECRET, _CHECKSUM = 22, 43, 6  # 62 ** width is more than 2 ** 128, 2 ** 256 and 2 ** 32
_SHAPE = re.compile(
    rf"sk_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET}}}([0-9A-Za-z]{{{_CHECKSUM}}})"
)
_ID_AT = slice(len(API_KEY_PREFIX) + _ID + 1, len(API_KEY_PREFIX) + 2 * _ID + 1)


class ApiKeyText(NamedTuple):
    """What a text says by itself: whose the key claims to be, and which secret it claims to hold."""

    owner: UUID
    secret_id: UUID


def new_api_key(owner: UUID, secret_id: UUID) -> str:
    """A text with 256 new random bits. It is shown once; keep ``api_key_hash`` of it."""
    head = f"{api_key_prefix(owner, secret_id)}_{_encode(secrets.randbits(256), _SECRET)}"
    return head + _checksum(head)


def read_api_key(text: str) -> ApiKeyText:
    """The parts of a well-formed text; whether it is anybody's key, it cannot say. Raises ``InvalidApiKey`` (``format``) for all others."""
    found = _SHAPE.fullmatch(text)
    if found is None or _checksum(text[:-_CHECKSUM]) != found[3]:
        raise InvalidApiKey("format")
    owner, secret_id = _decode(found[1]), _decode(found[2])
    if owner >> 128 or secret_id >> 128:
        raise InvalidApiKey("format")
    return ApiKeyText(UUID(int=owner), UUID(int=secret_id))


def api_key_hash(text: str) -> bytes:
    """SHA-256 of the whole text, and so of partition and id too. Raises ``InvalidApiKey`` for text that is not ASCII."""
    try:
        return sha256(text.encode("ascii")).digest()
    except UnicodeEncodeError as exc:
        raise InvalidApiKey("format") from exc


def api_key_name(secret_id: UUID) -> str:
    """How the id stands in the text."""
    return _encode(secret_id.int, _ID)


def api_key_prefix(owner: UUID, secret_id: UUID) -> str:
    """How the text begins: everything before the secret. It may be shown."""
    return f"{API_KEY_PREFIX}{_encode(owner.int, _ID)}_{api_key_name(secret_id)}"


def name_in(text: str) -> str:
    """What stands where the id would; of any text."""
    return text[_ID_AT]


def _checksum(head: str) -> str:
    return _encode(crc32(head.encode("ascii")), _CHECKSUM)


def _encode(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _decode(text: str) -> int:
    number = 0
    for char in text:
        number = number * 62 + _VALUES[char]
    return number
