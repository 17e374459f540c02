"""Says that the server refuses calls: such an error is no outage, so nobody else would tell of it."""

from typing import final

import structlog

from app.core.observability import EventHub, StoreRefusedEvent
from app.core.resilience import Clock
from app.core.valkey._errors import StoreError, StoreReplyError, to_error

_AGAIN_S = 60.0
log = structlog.get_logger(__name__)


@final
class Refusals:
    """Counts every refusal, and logs each reason at most once a minute: a key of another type is met by every request that needs it."""

    def __init__(self, hub: EventHub, clock: Clock, server: str) -> None:
        self._hub = hub
        self._clock = clock
        self._server = server
        self._quiet_until: dict[str, float] = {}

    def error_of(self, text: str, script: str | None) -> StoreError:
        """The error for a call that was answered with ``text``; told, unless it is an outage."""
        error = to_error(text, script)
        if isinstance(error, StoreReplyError):
            self._tell(error)
        return error

    def _tell(self, error: StoreReplyError) -> None:
        self._hub.emit(StoreRefusedEvent(error.code))
        now = self._clock.monotonic()
        # Reasons hold a code, a script and a line of it: there are few.
        if self._quiet_until.get(error.reason, now) <= now:
            self._quiet_until[error.reason] = now + _AGAIN_S
            log.error("store.refused", server=self._server, reason=error.reason)
