"""Document 000: encryption, and environment files that are loaded before anything else."""

import os
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import make_url, text

from app.core.db import SessionManager, configure, default_database, get_db_url
from app.core.errors import ConfigurationError
from app.core.security import (
    DataEncryptor,
    DecryptionFailed,
    Encrypted,
    configure_encryption,
    with_encrypted_parameters,
)
from app.main import create_app
from app.settings import Settings, load_environment_files
from tests.apps import running


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    """Neither a database nor keys, as a script finds its process; the environment is as before afterwards."""
    before = dict(os.environ)
    configure(None)
    configure_encryption(None)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    configure(None)
    configure_encryption(None)


@pytest.fixture
def environment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> Path:
    """The `.env` of a script, in its folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".env"
    path.write_text(f'DATABASE_URL="{postgres_url}"\nENCRYPTION_KEYS={"k" * 40}\nAPP_NAME=script\n')
    return path


async def test_000_09_data_is_encrypted_and_decrypted_with_the_services_keys(settings: Settings) -> None:
    async with running(create_app(settings)):
        encryptor = DataEncryptor()
        ciphertext = encryptor.encrypt("my sensitive data")
        plaintext = encryptor.decrypt(ciphertext)
    assert plaintext == "my sensitive data"
    assert "sensitive" not in ciphertext


async def test_000_10_the_environment_file_is_loaded_before_the_database_is_used(
    environment_file: Path, postgres_url: str
) -> None:
    with pytest.raises(ConfigurationError):
        get_db_url()
    load_environment_files()
    assert make_url(get_db_url()) == make_url(postgres_url)
    async with SessionManager(context="script") as db:
        assert await db.scalar(text("SELECT current_setting('application_name')")) == "script"
    await default_database().close()


async def test_000_16_the_second_guides_names_do_the_same(settings: Settings) -> None:
    async with running(create_app(settings)):
        cipher = DataEncryptor()
        encrypted = cipher.encrypt_data("mysecret")
        decrypted = cipher.decrypt_data(encrypted)
        assert DataEncryptor().decrypt(encrypted) == decrypted == "mysecret"
    assert encrypted != "mysecret"


def test_000_17_the_environment_file_is_loaded_before_anything_is_encrypted(environment_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS"):
        DataEncryptor()
    load_environment_files()
    assert DataEncryptor(["k" * 40]).decrypt(DataEncryptor().encrypt("word")) == "word"
    environment_file.chmod(0o644)
    os.environ["APP_ENV"] = "production"
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_environment_files()


def test_000_line_144_fernet_rotation_and_metrics() -> None:
    def rotations() -> float:
        labels = {"operation": "rotate", "outcome": "ok"}
        return REGISTRY.get_sample_value("gatehouse_encryption_operations_total", labels) or 0.0

    old, new = "the older key of this test, 32 bytes", "the newer key of this test, 32 bytes"
    token = DataEncryptor([old]).encrypt("word")
    assert urlsafe_b64decode(token)[0] == 0x80  # the version of Fernet
    before = rotations()
    rotated = DataEncryptor([new, old]).rotate(token)
    assert rotations() == before + 1
    assert DataEncryptor([new]).decrypt(rotated) == "word"
    with pytest.raises(DecryptionFailed):
        DataEncryptor([new]).decrypt(token)


async def test_000_line_227_sensitive_parameters_are_encrypted_by_a_bare_decorator(
    settings: Settings,
) -> None:
    @with_encrypted_parameters
    async def store_user(name: str, ssn: Encrypted) -> tuple[str, str]:
        return name, ssn

    async with running(create_app(settings)):
        name, ssn = await store_user("Ann", "078-05-1120")
        assert DataEncryptor().decrypt(ssn) == "078-05-1120"
    assert (name, "078" in ssn) == ("Ann", False)


@pytest.mark.parametrize("secret", ["a-secret-of-these-tests-with-over-32-bytes"])
def test_000_line_253_the_secret_key_is_the_default_source_outside_production(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secret: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET_KEY", secret)
    load_environment_files()
    assert DataEncryptor([secret]).decrypt(DataEncryptor().encrypt("word")) == "word"
    with pytest.raises(ValueError, match="ENCRYPTION_KEYS is not set"):
        Settings(_env_file=None, app_env="production")
