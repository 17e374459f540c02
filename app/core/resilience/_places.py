"""Places for work: so many at once in this process, so many waiting, for so long."""

import asyncio
from collections import deque
from threading import BoundedSemaphore, Lock


class Places:
    """Places for coroutines of one event loop, given in the order of asking. ``queue`` is how many may wait."""

    __slots__ = ("_most", "_queue", "_waiting", "in_use")

    def __init__(self, most: int, *, queue: int = 0) -> None:
        if most < 1 or queue < 0:
            raise ValueError("most must be 1 or more, queue 0 or more")
        self._most = most
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_use = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def acquire(self, timeout_s: float) -> bool:
        """Take a place, waiting up to ``timeout_s`` seconds if the queue has room. False: no place, and at once if it has none.

        Whoever got True calls ``release`` once.
        """
        if self.in_use < self._most:
            self.in_use += 1
            return True
        if len(self._waiting) >= self._queue or timeout_s <= 0:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            self._leave(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def release(self) -> None:
        """Give the place back; the first that waits gets it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_use -= 1

    def _leave(self, turn: "asyncio.Future[None]") -> None:
        # A place may have been handed over in the moment in which its taker gave up: it must go on to the next.
        if turn.done() and not turn.cancelled():
            self.release()
        elif turn in self._waiting:
            self._waiting.remove(turn)


class ThreadPlaces:
    """The same for threads. Those that wait hold a thread each: keep the queue shorter than the pool."""

    __slots__ = ("_lock", "_places", "_queue", "_waiting")

    def __init__(self, most: int, *, queue: int = 0) -> None:
        self._places = BoundedSemaphore(most)
        self._queue = queue
        self._waiting = 0
        self._lock = Lock()

    def acquire(self, timeout_s: float) -> bool:
        """Take a place, waiting as ``Places.acquire`` does."""
        if self._places.acquire(blocking=False):
            return True
        with self._lock:
            if self._waiting >= self._queue or timeout_s <= 0:
                return False
            self._waiting += 1
        try:
            return self._places.acquire(timeout=timeout_s)
        finally:
            with self._lock:
                self._waiting -= 1

    def release(self) -> None:
        """Give the place back."""
        self._places.release()
