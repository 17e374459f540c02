"""One request's computing of an answer that is kept in the cache: the lease is its own, and others wait for what it makes."""

from contextlib import suppress
from time import monotonic

from fastapi import Request, Response

from app.core.http._answer import Answer
from app.core.http._cached_answers import CachedAnswers, Scope, Sought
from app.core.http._problem import response_to
from app.core.valkey import Put, StoreError


class Computation:
    """Begins when it is made. Whoever makes it calls ``end``, when the store knows what became of it."""

    __slots__ = ("_answer", "_began", "_cached", "_is_over", "_sought")

    def __init__(self, cached: CachedAnswers, sought: Sought) -> None:
        self._cached = cached
        self._sought = sought
        self._began = monotonic()
        self._answer: Answer | None = None
        self._is_over = False
        cached.announce(sought)

    async def negative(self, request: Request, error: BaseException, scope: Scope) -> Response | None:
        """The 404 or 410 that the handler raised, as its caller gets it; None when it is not to be kept."""
        if not self._cached.config.negative_ttl or not isinstance(error, Exception):
            return None
        response = await response_to(request, error)
        if response.status_code not in (404, 410):
            return None
        # A problem document says no-store to caches that nobody asked; here it was asked for.
        response.raw_headers = [header for header in response.raw_headers if header[0] != b"cache-control"]
        final = self.take(response, scope)
        return final if self._answer is not None else None

    def take(self, response: Response, scope: Scope) -> Response:
        """The response as its caller gets it; what may be kept of it is stored after the last byte."""
        cached = self._cached
        self._answer = cached.keepable(response)
        if self._answer is None:
            return response
        final = cached.fresh(response, self._answer, scope, self._sought)
        final.background = response.background
        return final

    def entry(self, versions: bytes) -> Put | None:
        """What was computed, with these versions of its tags, if it may be kept; else the lease is given up."""
        if self._answer is None:
            return None
        took_s = monotonic() - self._began
        return self._cached.entry(self._sought, self._answer, versions=versions.decode(), took_s=took_s)

    async def throttle(self, token: str) -> None:
        """It failed and a stale answer can be given: others do not try at once."""
        with suppress(StoreError):  # the lease then ends by itself
            await self._cached.throttle(self._sought, token)

    def end(self) -> None:
        """Tell those who wait. Doing it again does nothing."""
        if not self._is_over:
            self._is_over = True
            self._cached.end(self._sought, self._answer)
