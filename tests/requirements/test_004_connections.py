"""Document 004: connections and tenants."""

import httpx2
import pytest

from app.main import create_app
from app.settings import Settings
from tests.apps import running


async def test_004_04_the_environment_is_read_under_the_documents_names(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str, valkey_url: str
) -> None:
    libpq = postgres_url.replace("postgresql+asyncpg://", "postgresql://")
    monkeypatch.setenv("ADMIN_DATABASE_URL", f"{libpq}&sslmode=disable")
    monkeypatch.setenv("DB_ENCRYPTION_KEY", "your-32-character-encryption-key")
    monkeypatch.setenv("REDIS_URL", valkey_url)
    settings = Settings(_env_file=None, app_env="test")
    assert settings.db_encryption_key is not None
    assert len(settings.db_encryption_key.get_secret_value()) == 32
    async with running(create_app(settings)) as app:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/ready")).json()["checks"] == {
                "database": "ok",
                "schema": "ok",
                "valkey": "ok",
            }
