"""Cursors: positions in a list, as text that callers hand back and cannot make or change.

A cursor is base64url of ``tag (16) | JSON array``. The tag is HMAC-SHA256 over what the cursor is for (table, order, context) and the
values. It is signed, not secret: who decodes it reads the sort columns' values of the last row on his page.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson

from app.core.db._fields import Model, as_json
from app.core.db._keyset import Position
from app.core.db._query_errors import InvalidCursor, InvalidFieldValue
from app.core.db._sorting import SortKey
from app.core.errors import ConfigurationError

_PURPOSE = b"gatehouse cursor v1"
_TAG = 16
_MIN_SECRET = 32
_LONGEST = 8192


class CursorSigner:
    """Signs with the first of ``secrets`` and accepts any: a key is replaced by putting the new one in front.

    Raises ConfigurationError without a secret, or for one of less than 32 bytes. Lists that are open while their key is taken out begin
    anew: their cursors are refused.
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[str]) -> None:
        if isinstance(secrets, str) or not secrets:
            raise ConfigurationError("Cursors need a list of at least one secret")
        if any(len(secret.encode()) < _MIN_SECRET for secret in secrets):
            raise ConfigurationError(f"A secret for cursors has {_MIN_SECRET} bytes or more")
        # A key of its own: a cursor is no token, whatever else the secret signs.
        self._keys = [hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in secrets]

    def sign(self, purpose: bytes, payload: bytes) -> str:
        """``payload`` as text that only ``verify`` with the same purpose takes. Safe in a URL."""
        return urlsafe_b64encode(_tag(self._keys[0], purpose, payload) + payload).rstrip(b"=").decode()

    def verify(self, purpose: bytes, text: str) -> bytes:
        """The payload. Raises InvalidCursor for anything that ``sign`` did not write for this purpose."""
        raw = _decode(text)
        tag, payload = raw[:_TAG], raw[_TAG:]
        if not any(hmac.compare_digest(tag, _tag(key, purpose, payload)) for key in self._keys):
            raise InvalidCursor
        return payload

    def __repr__(self) -> str:
        return f"<CursorSigner with {len(self._keys)} keys>"


class _Default:
    signer: CursorSigner | None = None


def configure_cursors(signer: CursorSigner | None) -> None:
    """Set the process's default signer. Called by doors; ``None`` forgets it."""
    _Default.signer = signer


def default_signer() -> CursorSigner:
    """The signer that a door configured. Raises ConfigurationError when none did."""
    if _Default.signer is None:
        raise ConfigurationError(
            "No key signs cursors in this process: a door calls core.db.configure_cursors(), or hand the repository a CursorSigner"
        )
    return _Default.signer


def encode_cursor(
    signer: CursorSigner, model: Model, keys: tuple[SortKey, ...], position: Position, context: str = ""
) -> str:
    """A position of ``model`` in the order ``keys``; ``context`` is whatever else the cursor belongs to.

    Raises InvalidFieldValue when the values are too long for a cursor (8 KiB): do not sort by long texts.
    """
    values = [as_json(key.field, value) for key, value in zip(keys, position, strict=True)]
    text = signer.sign(_purpose(model, keys, context), orjson.dumps(values))
    if len(text) > _LONGEST:
        raise InvalidFieldValue("order_by", "names a field whose value is too long for a cursor")
    return text


def decode_cursor(
    signer: CursorSigner, model: Model, keys: tuple[SortKey, ...], text: str, context: str = ""
) -> Position:
    """The position. Raises InvalidCursor for a cursor of another model, order or context too."""
    values: list[Any] = orjson.loads(signer.verify(_purpose(model, keys, context), text))
    return tuple(key.field.value(value) for key, value in zip(keys, values, strict=True))


def _purpose(model: Model, keys: tuple[SortKey, ...], context: str) -> bytes:
    return orjson.dumps([model.__tablename__, [str(key) for key in keys], context])


def _tag(key: bytes, purpose: bytes, payload: bytes) -> bytes:
    # Both lengths are certain: the purpose is hashed first.
    return hmac.digest(key, sha256(purpose).digest() + payload, "sha256")[:_TAG]


def _decode(text: str) -> bytes:
    if len(text) > _LONGEST:
        raise InvalidCursor
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (Base64Error, ValueError):
        raise InvalidCursor from None
    # The decoder skips characters that are not base64, and ignores the last bits.
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise InvalidCursor
    return raw
