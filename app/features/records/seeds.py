"""Records to develop and to test with."""

from typing import Any

from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.seeds import TEST_USER
from app.core.db import AsyncSession, SeedTable
from app.core.errors import ConfigurationError
from app.features.records.models import Record

OWNER = "analyst@example.com"
_TAGS = ("red", "green", "blue")


async def owner(session: AsyncSession) -> dict[str, Any]:
    """The development user whose records they are. Raises ConfigurationError before the users are seeded."""
    user = await UserRepository(session).get_by_email(OWNER)
    if user is None:
        raise ConfigurationError(f"{OWNER} is not there: seed the development users first")
    return {"owner_id": user.id}


def record(n: int, known: Any) -> dict[str, Any]:
    """Record ``n``, with one tag or two and a number."""
    tags = sorted({_TAGS[n % 3], _TAGS[n % 2]})
    payload = {"number": n, "even": n % 2 == 0}
    return {
        "owner_id": known["owner_id"],
        "name": f"record-{n:04d}",
        "tags": tags,
        "payload": payload,
        "version": 1,
    }


def fixture(n: int, _: Any) -> dict[str, Any]:
    """Record ``n`` of the test user."""
    return record(n, {"owner_id": TEST_USER.key_of(0)["id"]})


DEVELOPMENT = (SeedTable(name="records", model=Record, count=60, make=record, known=owner, scales=True),)
TEST = (SeedTable(name="test records", model=Record, count=2, make=fixture),)
