"""Asks the other service and takes nothing on trust: not its size, its time, its encoding or its form."""

import httpx2
from pydantic import ValidationError

from app.core.outbound import AddressRefused
from app.core.resilience import remaining_s
from app.features.external_data.schemas import ExternalAnswer, ExternalData
from app.features.external_data.service.errors import (
    UpstreamBusy,
    UpstreamFailed,
    UpstreamNotConfigured,
    UpstreamRejected,
    UpstreamTimeout,
)

MAX_BYTES = 1_048_576
_MAX_WAIT_S = 3600


class ExternalSearch:
    """Searches at ``url`` through ``client``; without a URL every search is UpstreamNotConfigured.

    Each step of a call (connecting, a silence while reading) has ``timeout_s`` seconds or what is left of the request's time.
    """

    def __init__(
        self, client: httpx2.AsyncClient | None, url: httpx2.URL | None, *, timeout_s: float = 10.0
    ) -> None:
        self._client = client
        self._url = url
        self._timeout_s = timeout_s

    async def search(self, query: str) -> ExternalData:
        """What the other service finds. Raises UpstreamNotConfigured, UpstreamRejected or a FailedUpstream."""
        if self._client is None or self._url is None:
            raise UpstreamNotConfigured
        body = await self._ask(self._client, self._url.copy_merge_params({"query": query}))
        try:
            answer = ExternalAnswer.model_validate_json(body)
        except ValidationError as error:
            raise UpstreamFailed("The source of external data answered something else.") from error
        return ExternalData(query=query, items=answer.items)

    async def _ask(self, client: httpx2.AsyncClient, url: httpx2.URL) -> bytes:
        timeout = httpx2.Timeout(remaining_s(self._timeout_s))
        try:
            async with client.stream("GET", url, timeout=timeout, follow_redirects=False) as response:
                _check_status(response)
                return await _read(response)
        except AddressRefused as error:
            raise UpstreamRejected("The source of external data may not be called.") from error
        except httpx2.TimeoutException as error:
            raise UpstreamTimeout("The source of external data takes too long.") from error
        except httpx2.HTTPError as error:
            raise UpstreamFailed("The source of external data cannot be reached.") from error


def _check_status(response: httpx2.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (429, 503):
        raise UpstreamBusy(_retry_after(response.headers.get("retry-after", "")))
    if 400 <= status < 500:
        raise UpstreamRejected("The source of external data does not take this query.")
    # Redirects too: following one would leave the list of hosts to somebody else.
    raise UpstreamFailed("The source of external data failed.")


def _retry_after(value: str) -> int | None:
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        return None  # A date would need the other side's clock.
    return min(int(value), _MAX_WAIT_S)


async def _read(response: httpx2.Response) -> bytes:
    """The body as it was sent. A compressed one is refused: we asked for none, and a small one may grow without end."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise UpstreamFailed("The source of external data answered something else.")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_BYTES:
            raise UpstreamFailed("The source of external data answered too much.")
    return bytes(body)
