"""How many jobs a worker may have in work at once."""

import asyncio


class JobPlaces:
    """Counted places. Belongs to one event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.free = most
        self._one_is_free = asyncio.Event()
        self._one_is_free.set()
        self._is_closed = False

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self.most - self.free

    async def take(self, wanted: int) -> int:
        """Wait for one, then take up to ``wanted``; how many. 0 once they are closed."""
        while not self.free and not self._is_closed:
            self._one_is_free.clear()
            await self._one_is_free.wait()
        taken = 0 if self._is_closed else min(wanted, self.free)
        self.free -= taken
        return taken

    def close(self) -> None:
        """Nobody gets one any more, and nobody waits for one."""
        self._is_closed = True
        self._one_is_free.set()

    def give_back(self, count: int = 1) -> None:
        """They are free again."""
        self.free += count
        self._one_is_free.set()
