"""Password hashes: argon2id. The only module that imports passlib.

passlib and bcrypt 5 do not work together, so bcrypt is not offered; ``pbkdf2_sha256`` verifies what was
hashed before and is replaced by argon2id at the next login.
"""

import asyncio
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import structlog

from app.core.errors import Unavailable

with warnings.catch_warnings():
    # passlib imports `crypt` and asks argon2-cffi for its version in a way that both announce to remove; it
    # works and is pinned.
    warnings.simplefilter("ignore", DeprecationWarning)
    from passlib.context import CryptContext
    from passlib.hash import argon2

    argon2.set_backend("argon2_cffi")

Result = TypeVar("Result")

MAX_PASSWORD_BYTES = 1024
_log = structlog.get_logger(__name__)


class PasswordHasher:
    """Hashes and verifies passwords, exactly as received: nothing is cut off, trimmed or folded.

    The defaults (19 MiB, 2 passes, 1 lane; about 30 ms of one core) are OWASP's for argon2id: change
    ``memory_kib``, ``time_cost`` and ``parallelism`` together and upwards only, except in tests. The
    ``*_async`` methods run in ``workers`` threads (default: the cores this process may use); up to
    ``max_waiting`` further calls wait for one, and the next raises ``Unavailable`` at once.
    """

    def __init__(
        self,
        *,
        memory_kib: int = 19_456,
        time_cost: int = 2,
        parallelism: int = 1,
        workers: int | None = None,
        max_waiting: int = 64,
    ) -> None:
        self._context = CryptContext(
            schemes=["argon2", "pbkdf2_sha256"],
            deprecated=["pbkdf2_sha256"],
            argon2__type="ID",
            argon2__memory_cost=memory_kib,
            argon2__time_cost=time_cost,
            argon2__parallelism=parallelism,
        )
        self._workers = workers or _usable_cores()
        self._limit = self._workers + max_waiting
        self._pending = 0
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def hash(self, password: str) -> str:
        """A salted argon2id hash, in PHC text form. Raises ``ValueError`` above 1024 bytes and for text that
        is not Unicode.
        """
        if not _is_hashable(password):
            raise ValueError(f"a password is Unicode text of at most {MAX_PASSWORD_BYTES} bytes")
        return str(self._context.hash(password))

    def verify(self, password: str, hashed: str) -> bool:
        """Whether ``password`` is the one behind ``hashed``. False, and never an error, for text that nobody
        could have hashed.

        A ``hashed`` that is no hash at all is logged and false, after equal work.
        """
        if not _is_hashable(password):
            return False
        try:
            return bool(self._context.verify(password, hashed))
        except (ValueError, TypeError):
            _log.warning("password.hash_unreadable")  # Without a traceback: its frames hold the password.
            return self.verify_dummy(password)

    def verify_dummy(self, password: str) -> bool:
        """Do the work of ``verify`` and answer False: for an account that does not exist, so that time does
        not tell.

        It hashes, because argon2 verifies by hashing again with the same parameters.
        """
        if _is_hashable(password):
            self._context.hash(password)
        return False

    def needs_rehash(self, hashed: str) -> bool:
        """Whether ``hashed`` has another scheme or weaker parameters than new hashes; hash anew when the
        password is at hand.
        """
        return bool(self._context.needs_update(hashed))

    async def hash_async(self, password: str) -> str:
        """``hash`` off the event loop. Also raises ``Unavailable`` when too many calls wait."""
        return await self._run(lambda: self.hash(password))

    async def verify_async(self, password: str, hashed: str) -> bool:
        """``verify`` off the event loop. Raises ``Unavailable`` when too many calls wait."""
        return await self._run(lambda: self.verify(password, hashed))

    async def verify_dummy_async(self, password: str) -> bool:
        """``verify_dummy`` off the event loop. Raises ``Unavailable`` when too many calls wait."""
        return await self._run(lambda: self.verify_dummy(password))

    def close(self) -> None:
        """End the threads after their present hash; calls that still wait are cancelled. A later call starts
        new threads.
        """
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        with self._lock:
            if self._pending >= self._limit:
                raise Unavailable("Too many sign-ins at once; try again in a moment.")
            self._pending += 1
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="password")
        future = self._executor.submit(work)
        # Counted by the work, not by its caller: one that gives up leaves a thread hashing until it is done.
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[Result]) -> None:
        with self._lock:
            self._pending -= 1


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_hashable(password: str) -> bool:
    try:
        return len(password.encode()) <= MAX_PASSWORD_BYTES
    except UnicodeEncodeError:  # A lone surrogate, which JSON can carry.
        return False
