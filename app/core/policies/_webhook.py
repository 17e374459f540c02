"""Signed webhooks: a message that its sender signed, not long ago, and that is worked on once however often it arrives."""

from dataclasses import dataclass

from app.core.errors import NotAuthenticated
from app.core.policies._idempotency import Durability, Idempotency
from app.core.policies._words import between, named

_METHODS = ("POST", "PUT", "PATCH", "DELETE")


class WebhookRejected(NotAuthenticated):
    """No such message was signed by the sender, or not just now. ``reason``: missing, malformed, too_old, too_new or signature."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail, challenge="Webhook-Signature")
        self.extensions["reason"] = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSignature:
    """Who signs the messages of an endpoint, by the Standard Webhooks specification, and how often one is worked on.

    source: the sender's name in ``WEBHOOK_SECRETS``, lower case; one endpoint a source, because the signature does not cover the URL.
    tolerance: seconds that the message's time may differ from ours, either way, 1 to 3600.
    retention: seconds that a message's id is remembered, with the answer that it got: at least twice the tolerance, so that no message can
        be sent again which is young enough to pass and forgotten already; at most 2,678,400 (31 days).
    durability: where that is remembered, as in ``Idempotency``: ``valkey``, or ``db`` for exactly once in the handler's own transaction.

    The id is claimed before the handler runs. A message that comes again gets the kept answer; 409 while the first is worked on; 422 under
    an id that belongs to another message. A handler that fails with 5xx gives the id up, so that the sender's next try is worked on. While
    Valkey is down every message is 503. Raises ValueError for values out of range.
    """

    source: str
    tolerance: float = 300.0
    retention: float = 86_400.0
    durability: Durability = "valkey"

    def __post_init__(self) -> None:
        named("WebhookSignature", "source", (self.source,))
        between("WebhookSignature", "tolerance", self.tolerance, 1, 3600)
        between("WebhookSignature", "retention", self.retention, max(60, 2 * self.tolerance), 2_678_400)
        self.repeats  # noqa: B018 - checks the durability

    @property
    def repeats(self) -> Idempotency:
        """The same as a rule about repeated requests, whose key is the message's id."""
        return Idempotency(
            required=True,
            durability=self.durability,
            retention=self.retention,
            on_expired_claim="consult_db" if self.durability == "db" else "rerun",
            methods=_METHODS,
            save_errors=False,
        )
