"""Signed webhooks of one endpoint: the head of a message is looked at first, then its body is read, and its id becomes a claim."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.core.http._answer import values_of
from app.core.http._idempotency_key import digest, fingerprint
from app.core.policies import Claim, WebhookRejected, WebhookSignature
from app.core.resilience import Clock
from app.core.security import WebhookKeys

_ID = re.compile(rb"[\x21-\x2d\x2f-\x7e]{1,255}")  # no dot: it stands between the parts that are signed
_TIME = re.compile(rb"[1-9][0-9]{0,11}")
_SIGNATURES = re.compile(rb"[\x20-\x7e]{1,4096}")
Scope = Mapping[str, Any]


class Message(NamedTuple):
    """The head of a message whose time is right; whether the sender signed it, its body must show."""

    message_id: str
    timestamp: str
    signatures: str


class Deliveries:
    """Checks the messages of one endpoint and makes their claims.

    The claim's place is the source and the message's id, whoever brings it and to whatever route: a recorded message is no new one from
    another network, and not the message of another endpoint.
    """

    def __init__(self, config: WebhookSignature, keys: WebhookKeys, clock: Clock, lease_s: float) -> None:
        self._source = config.source
        self._tolerance = config.tolerance
        self._keys = keys
        self._clock = clock
        self._lease_ms = int(lease_s * 1000)
        self._retention_ms = int(config.retention * 1000)
        self._rerun = config.repeats.expired_claim != "refuse"

    def head(self, scope: Scope) -> Message:
        """Raises WebhookRejected (401) for a head that is not complete, or not of now; its body need not be read."""
        message_id = _field(scope, b"webhook-id", _ID)
        timestamp = _field(scope, b"webhook-timestamp", _TIME)
        signatures = _field(scope, b"webhook-signature", _SIGNATURES)
        age = self._clock.time() - int(timestamp)
        if abs(age) > self._tolerance:
            raise WebhookRejected(
                "too_old" if age > 0 else "too_new",
                f"The message's time is more than {self._tolerance:g} seconds {'ago' if age > 0 else 'ahead'}.",
            )
        return Message(message_id, timestamp, signatures)

    def claim(self, message: Message, scope: Scope, template: str, body: bytes) -> Claim:
        """What ADMIT is asked to claim. Raises WebhookRejected (401) when none of its signatures is the sender's for this body."""
        if not self._keys.is_signed(message.signatures, message.message_id, message.timestamp, body):
            raise WebhookRejected("signature", "The message is not signed by its sender.")
        return Claim(
            f"{{w:{self._source}}}:v1:i:webhook:{digest(message.message_id.encode())}",
            fingerprint(scope, template, body),
            self._lease_ms,
            self._retention_ms,
            self._rerun,
            name="webhook-id",
        )


def _field(scope: Scope, name: bytes, form: re.Pattern[bytes]) -> str:
    lines = values_of(scope["headers"], name)
    if not lines:
        raise WebhookRejected("missing", f"This needs the field {name.decode()}.")
    if len(lines) > 1 or not form.fullmatch(lines[0]):
        raise WebhookRejected("malformed", f"The field {name.decode()} is not well formed, or there twice.")
    return lines[0].decode("ascii")
