import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.core.errors import Unavailable
from app.core.security import PasswordHasher
from tests.cases import each_case

PASSWORD = "correct horse battery staple"
PBKDF2_HASH = "$pbkdf2-sha256$1000$9z6HUOqdUwpB6D3nvDfGeA$DQ92IfFyR2hI.k2QgmEZEugMRldtnxblAHnh2QFcX7A"


def cheap_hasher(*, workers: int = 1, max_waiting: int = 64, memory_kib: int = 64) -> PasswordHasher:
    return PasswordHasher(
        memory_kib=memory_kib, time_cost=1, parallelism=1, workers=workers, max_waiting=max_waiting
    )


class Held(PasswordHasher):
    """Each hash waits until the test lets it go; counts how many run at once."""

    def __init__(self, *, workers: int, max_waiting: int) -> None:
        super().__init__(memory_kib=64, time_cost=1, parallelism=1, workers=workers, max_waiting=max_waiting)
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)
        self.running = 0
        self.most = 0
        self._count = threading.Lock()

    def verify(self, password: str, hashed: str) -> bool:
        with self._count:
            self.running += 1
            self.most = max(self.most, self.running)
        self.entered.release()
        self.go.wait(10)
        with self._count:
            self.running -= 1
        return password == hashed


class TestHash:
    def test_a_hash_verifies_its_own_password_and_no_other(self) -> None:
        hasher = cheap_hasher()
        hashed = hasher.hash(PASSWORD)
        assert hasher.verify(PASSWORD, hashed)
        for wrong in ("", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], " " + PASSWORD):
            assert not hasher.verify(wrong, hashed)

    def test_two_hashes_of_one_password_differ(self) -> None:
        hasher = cheap_hasher()
        assert hasher.hash(PASSWORD) != hasher.hash(PASSWORD)

    def test_the_default_is_argon2id_at_least_as_costly_as_owasp_asks(
        self, quick_hashes: Mapping[str, Any]
    ) -> None:
        assert PasswordHasher(**quick_hashes).hash(PASSWORD).startswith("$argon2id$v=19$m=19456,t=2,p=1$")

    def test_a_long_password_is_not_cut_off(self) -> None:
        hasher = cheap_hasher()
        hashed = hasher.hash("x" * 128)
        assert hasher.verify("x" * 128, hashed)
        assert not hasher.verify("x" * 127 + "y", hashed)

    @each_case("password", ["a\0b", "ü" * 128, "🔑" * 128, "\n", " "])
    def test_unusual_text_is_hashed_exactly_as_received(self, password: str) -> None:
        hasher = cheap_hasher()
        hashed = hasher.hash(password)
        assert hasher.verify(password, hashed)
        assert not hasher.verify(password.split("\0", maxsplit=1)[0] + "?", hashed)

    @each_case("password", ["x" * 1025, "\ud800"])
    def test_text_that_nobody_can_hash_is_refused_when_hashed_and_wrong_when_verified(
        self, password: str
    ) -> None:
        hasher = cheap_hasher()
        with pytest.raises(ValueError, match="1024"):
            hasher.hash(password)
        assert not hasher.verify(password, hasher.hash("other"))
        assert not hasher.verify_dummy(password)


class TestVerify:
    @each_case("hashed", ["", "plain text", "$argon2id$v=19$m=8", "$2b$12$abc", "\0"])
    def test_a_hash_that_cannot_be_read_is_wrong_and_logged_without_it_or_the_password(
        self, hashed: str
    ) -> None:
        with capture_logs() as logs:
            assert not cheap_hasher().verify(PASSWORD, hashed)
        assert [entry["event"] for entry in logs] == ["password.hash_unreadable"]
        assert PASSWORD not in repr(logs)

    def test_an_older_pbkdf2_hash_still_verifies_and_asks_to_be_replaced(self) -> None:
        hasher = cheap_hasher()
        assert hasher.verify(PASSWORD, PBKDF2_HASH)
        assert hasher.needs_rehash(PBKDF2_HASH)

    def test_a_hash_with_weaker_parameters_asks_to_be_replaced_and_a_present_one_does_not(self) -> None:
        weak, strong = cheap_hasher(), cheap_hasher(memory_kib=128)
        assert strong.needs_rehash(weak.hash(PASSWORD))
        assert not strong.needs_rehash(strong.hash(PASSWORD))

    def test_the_dummy_makes_one_hash_with_the_present_parameters_and_is_false(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hasher = cheap_hasher()
        made: list[str] = []
        original = hasher._context.hash
        monkeypatch.setattr(hasher._context, "hash", lambda password: made.append(original(password)))
        assert hasher.verify_dummy(PASSWORD) is False
        assert len(made) == 1
        assert not hasher.needs_rehash(made[0])


class TestOffTheEventLoop:
    async def test_the_loop_goes_on_while_a_hash_is_made(self) -> None:
        hasher = Held(workers=1, max_waiting=0)
        task = asyncio.create_task(hasher.verify_async("a", "a"))
        await asyncio.to_thread(hasher.entered.acquire)
        assert not task.done()
        hasher.go.set()
        assert await task is True
        hasher.close()

    async def test_no_more_hashes_run_at_once_than_there_are_workers(self) -> None:
        hasher = Held(workers=2, max_waiting=10)
        tasks = [asyncio.create_task(hasher.verify_async("a", "a")) for _ in range(8)]
        await asyncio.to_thread(hasher.entered.acquire)
        await asyncio.to_thread(hasher.entered.acquire)
        hasher.go.set()
        assert await asyncio.gather(*tasks) == [True] * 8
        assert hasher.most == 2
        hasher.close()

    async def test_one_call_more_than_may_wait_is_refused_as_unavailable(self) -> None:
        hasher = Held(workers=1, max_waiting=2)
        tasks = [asyncio.create_task(hasher.verify_async("a", "a")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await hasher.verify_async("a", "a")
        assert refused.value.headers["Retry-After"] == "1"
        hasher.go.set()
        assert await asyncio.gather(*tasks) == [True] * 3
        assert await hasher.verify_async("a", "a")
        hasher.close()

    async def test_a_caller_that_gives_up_while_waiting_frees_its_place_and_a_running_one_does_not(
        self,
    ) -> None:
        hasher = Held(workers=1, max_waiting=1)
        running, waiting = (asyncio.create_task(hasher.verify_async("a", "a")) for _ in range(2))
        await asyncio.to_thread(hasher.entered.acquire)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        again = asyncio.create_task(hasher.verify_async("a", "a"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await hasher.verify_async("a", "a")
        hasher.go.set()
        assert await again
        hasher.close()

    async def test_the_asynchronous_calls_answer_as_the_plain_ones(self) -> None:
        hasher = cheap_hasher()
        hashed = await hasher.hash_async(PASSWORD)
        assert await hasher.verify_async(PASSWORD, hashed)
        assert not await hasher.verify_async("wrong", hashed)
        assert not await hasher.verify_dummy_async(PASSWORD)
        hasher.close()

    async def test_a_closed_hasher_starts_again_when_used(self) -> None:
        hasher = cheap_hasher()
        hasher.close()
        hashed = await hasher.hash_async(PASSWORD)
        hasher.close()
        assert await hasher.verify_async(PASSWORD, hashed)
        hasher.close()
