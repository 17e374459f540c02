"""Time does not tell whether there is an account.

Measured as an attacker would use it: of all pairs of two tries, for accounts of two kinds, in how many the first takes longer; a half of
them tells nothing. The order of two times does not depend on how fast the machine is. The process's own CPU time is judged beside the
clock: it leaves out what others do on this machine, so that leaving out the hash shows every time.
"""

import time
from contextlib import closing
from typing import NamedTuple

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User
from app.builtin.accounts.service import BadCredentials, SignIn
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from tests.builtin.accounts.service.test_sign_in import EMAIL, World

UNKNOWN, DISABLED = "nobody@example.com", "disabled@example.com"
STRENGTH = {"memory_kib": 1024, "time_cost": 2}  # a millisecond: most of what a sign-in takes here


class Took(NamedTuple):
    """Seconds."""

    clock: float
    cpu: float


class Hasty(PasswordHasher):
    """Does not make the hash that nobody needs."""

    def verify_dummy(self, password: str) -> bool:
        return False


@pytest.fixture
async def world(db_session: AsyncSession, store: ValkeyClient, clean_store: None) -> World:
    hasher = PasswordHasher(**STRENGTH)
    good = hasher.hash("the password")
    user = User(email=EMAIL, password_hash=good)
    db_session.add_all([user, User(email=DISABLED, password_hash=good, is_active=False)])
    await db_session.commit()
    return World(db_session, user, store)


async def times(world: World, sign_in: SignIn, emails: list[str], rounds: int) -> list[list[Took]]:
    """How long wrong passwords took for each of these, in turns, so that what slows the machine down slows all of them down."""
    took: list[list[Took]] = [[] for _ in emails]
    for number in range(rounds + 3):
        for email, mine in zip(emails, took, strict=True):
            world.session.expunge_all()
            clock, cpu = time.perf_counter(), time.process_time()
            with pytest.raises(BadCredentials):
                await sign_in.with_password(world.session, email, "another password")
            if number >= 3:
                mine.append(Took(time.perf_counter() - clock, time.process_time() - cpu))
    return took


def share_longer(some: list[float], others: list[float]) -> float:
    """Of all pairs, those in which the first takes longer."""
    return sum(one > other for one in some for other in others) / len(some) / len(others)


async def test_an_unknown_user_a_wrong_password_and_a_disabled_user_take_the_same_time(world: World) -> None:
    with closing(PasswordHasher(**STRENGTH)) as hasher:
        sign_in = world.signing_in(hasher)
        unknown, wrong, disabled = await times(world, sign_in, [UNKNOWN, EMAIL, DISABLED], 70)
    for kind in (unknown, disabled):
        assert 0.25 < share_longer([one.clock for one in kind], [one.clock for one in wrong]) < 0.75
        assert 0.25 < share_longer([one.cpu for one in kind], [one.cpu for one in wrong]) < 0.75


async def test_without_a_hash_for_unknown_users_the_same_measurement_tells(world: World) -> None:
    with closing(Hasty(**STRENGTH)) as hasher:
        unknown, wrong = await times(world, world.signing_in(hasher), [UNKNOWN, EMAIL], 30)
    assert share_longer([one.cpu for one in unknown], [one.cpu for one in wrong]) < 0.25
