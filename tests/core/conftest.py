from collections.abc import Iterator, Mapping

import pytest

from tests.leaks import LeakGuard
from tests.standby import Pair, replicated


@pytest.fixture(scope="session")
def replication(servers: Mapping[str, str], leak_guard: LeakGuard) -> Iterator[Pair]:
    """A primary and a standby."""
    with replicated(servers["pattern"]) as pair:
        leak_guard.watch(pair.primary.password, "the password of a pair")
        yield pair


@pytest.fixture
async def pair(replication: Pair) -> Pair:
    """Both, whole, with an empty table ``notes`` (text); a test may do to them what it likes."""
    await replication.mend()
    await replication.commit("DROP TABLE IF EXISTS notes", "CREATE TABLE notes (text text)")
    return replication
