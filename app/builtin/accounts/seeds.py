"""The user that the test fixtures belong to. Development users are made with passwords, by the service."""

from typing import Any

from app.builtin.accounts.models import User, email_key
from app.core.db import SeedTable


def fixture_user(n: int, _: Any) -> dict[str, Any]:
    """User ``n``, who cannot sign in: what stands for the password's hash is no hash."""
    email = f"fixture-{n + 1:02d}@example.com"
    return {"email": email, "email_key": email_key(email), "password_hash": "!", "roles": ["db_reader"]}


TEST_USER = SeedTable(name="test users", model=User, count=1, make=fixture_user)
