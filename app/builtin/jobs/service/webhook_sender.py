"""One call of a webhook: signed, short, and with no trust in who answers."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLError
from typing import NamedTuple

import httpx2

from app.core.outbound import AddressRefused, GuardedTransport, Resolve, resolve
from app.core.resilience import Clock
from app.core.security import WebhookKeys

USER_AGENT = "Gatehouse-Webhooks/1"
MOST_READ = 65_536
LONGEST_WAIT_S = 3600.0


class Answer(NamedTuple):
    """What came of a call: an HTTP status, or in one or two words why there is none. ``retry_after_s``: what the other side asked for."""

    status: int | None
    error: str | None
    duration_ms: int
    retry_after_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """It has arrived."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_unwell(self) -> bool:
        """It says that the host is in trouble: no answer, or one of 5xx."""
        return self.status is None or self.status >= 500

    @property
    def words(self) -> str:
        """For the log."""
        return self.error or f"HTTP {self.status}"


class WebhookSender:
    """Calls webhooks through one client: no redirects, no cookies, no proxy from the environment, TLS verified, addresses checked.

    Connecting has ``connect_s`` seconds, everything together ``limit_s``.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        allow_private: bool = False,
        connect_s: float = 5.0,
        limit_s: float = 10.0,
        resolve: Resolve = resolve,
    ) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._client = httpx2.AsyncClient(
            transport=GuardedTransport(None, allow_private=allow_private, resolve=resolve),
            trust_env=False,
            timeout=httpx2.Timeout(limit_s, connect=connect_s),
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def send(self, url: httpx2.URL, message_id: str, body: bytes, secrets: Sequence[str]) -> Answer:
        """Sign with all of the secrets and send. Raises nothing but a cancellation: a call that fails is an answer too."""
        started = self._clock.monotonic()
        status, error, retry_after = None, None, ""
        try:
            async with asyncio.timeout(self._limit_s):
                request = self._client.build_request(
                    "POST", url, content=body, headers=self._signed(message_id, body, secrets)
                )
                response = await self._client.send(request, stream=True)
                try:
                    status, retry_after = response.status_code, response.headers.get("retry-after", "")
                    await _drain(response)
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, AddressRefused, TimeoutError, OSError) as raised:
            error = None if status is not None else _words(raised)
        duration_ms = int((self._clock.monotonic() - started) * 1000)
        wait_s = self._wait_s(retry_after) if status in (429, 503) else 0.0
        return Answer(status, error, duration_ms, wait_s)

    def _signed(self, message_id: str, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
        """The fields of the Standard Webhooks specification."""
        at = str(int(self._clock.time()))
        signatures = (WebhookKeys([secret]).sign(message_id, at, body) for secret in secrets)
        return {
            "Content-Type": "application/json",
            "Webhook-Id": message_id,
            "Webhook-Timestamp": at,
            "Webhook-Signature": " ".join(signatures),
        }

    def _wait_s(self, text: str) -> float:
        """``Retry-After`` in seconds or as a date, up to an hour; 0 for none and for what is neither."""
        wait_s = 0.0
        if text.isascii() and text.isdigit() and len(text) <= 9:
            wait_s = float(text)
        else:
            with suppress(ValueError, OverflowError):
                at = parsedate_to_datetime(text)
                wait_s = at.replace(tzinfo=at.tzinfo or UTC).timestamp() - self._clock.time()
        return min(max(0.0, wait_s), LONGEST_WAIT_S)


async def _drain(response: httpx2.Response) -> None:
    """Read a short answer, so that the connection serves again; the rest of a long one is left, and the connection closed."""
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MOST_READ:
            return


def _words(error: Exception) -> str:
    if isinstance(error, AddressRefused):
        return "address refused"
    if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return "timeout"
    if isinstance(error, httpx2.ProtocolError):
        return "no valid answer"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SSLError):
            return "TLS failed"
        cause = cause.__cause__ or cause.__context__
    return "no connection" if isinstance(error, httpx2.ConnectError) else "connection broken"
