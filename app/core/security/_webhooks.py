"""Signatures of webhooks by the Standard Webhooks specification (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body."""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable

from app.core.errors import ConfigurationError

_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64
_VERSION = "v1,"
_MOST_SIGNATURES = 16


class WebhookKeys:
    """The secrets that one sender and we share, newest first: several while one takes the other's place.

    secrets: ``whsec_`` and 24 to 64 random bytes in base64, as senders that follow the specification hand them out. Raises
        ConfigurationError, which shows none of them, when there is none or one has another form.

    Knows nothing of time and of repetitions: those are ``JobConfig.webhook``'s. Not for asymmetric signatures (``v1a``), which are passed
    over. Immutable; may be shared by threads.
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = tuple(_key(secret) for secret in secrets)
        if not self._keys:
            raise ConfigurationError("A sender of webhooks needs at least one secret")

    def sign(self, message_id: str, timestamp: str, body: bytes) -> str:
        """What ``webhook-signature`` says for this message, with the newest secret. ``timestamp`` is in seconds since the epoch. Raises
        ValueError for an id or a time with a dot in it: the dot is what stands between the parts that are signed.
        """
        if "." in message_id + timestamp:
            raise ValueError("neither the id nor the time of a webhook may contain a dot")
        return _signature(self._keys[0], message_id, timestamp, body)

    def is_signed(self, signatures: str, message_id: str, timestamp: str, body: bytes) -> bool:
        """Whether one of the first 16 signatures (a space between them) is one of ours for these very bytes. In constant time."""
        given = [text for text in signatures.split(" ", _MOST_SIGNATURES)[:_MOST_SIGNATURES] if text]
        is_good = False
        if "." in message_id + timestamp:  # Parts of one message could be read as those of another.
            return is_good
        for key in self._keys:
            expected = _signature(key, message_id, timestamp, body).encode()
            for text in given:
                is_good |= hmac.compare_digest(expected, text.encode())
        return is_good

    def __repr__(self) -> str:
        return f"<WebhookKeys with {len(self._keys)} secrets>"


def _key(secret: str) -> bytes:
    text = secret.strip()
    try:
        key = b64decode(text.removeprefix(_PREFIX), validate=True)
    except (NotBase64, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise ConfigurationError(
            f"A secret of webhooks is {_PREFIX} and {_LEAST} to {_MOST} random bytes in base64: "
            f'echo "{_PREFIX}$(openssl rand -base64 32)"'
        )
    return key


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
    return _VERSION + b64encode(hmac.digest(key, signed, "sha256")).decode()
