"""``load_environment_files()``: what scripts begin with. Files that everybody can read stop production before anything of them is used."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.core.db import Database, SessionManager, configure, get_db_url
from app.core.errors import ConfigurationError
from app.core.security import DataEncryptor, configure_encryption, exposed_files
from app.settings import Settings, load_environment_files

KEY = "the key of environment tests, 32 bytes or more".replace(",", "")
LINES = {
    "APP_ENV": "production", "SECRET_KEY": "s" * 48, "ENCRYPTION_KEYS": KEY, "APP_NAME": "from-the-file",
    "DATABASE_URL": "postgresql+asyncpg://u:p@127.0.0.1:1/n", "VALKEY_URL": "valkey://127.0.0.1:1/0",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """In a folder of its own; what is put into the environment and into the process's defaults is taken out again."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    configure(None)
    configure_encryption(None)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    configure(None)
    configure_encryption(None)


def written(mode: int = 0o600, name: str = ".env", **changes: str) -> Path:
    path = Path(name)
    path.write_text("".join(f"{key}={value}\n" for key, value in {**LINES, **changes}.items() if value))
    path.chmod(mode)
    return path


def refused(*files: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_environment_files(*files)
    return str(caught.value)


class TestRights:
    @pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666, 0o755])
    def test_a_file_of_everybody_stops_production_and_is_not_used(self, mode: int) -> None:
        written(mode)
        message = refused()
        assert ".env" in message
        assert "chmod 600" in message
        assert "s" * 48 not in message
        assert "APP_NAME" not in os.environ
        with pytest.raises(ConfigurationError):
            DataEncryptor()

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
    def test_a_private_one_is_read(self, mode: int) -> None:
        written(mode)
        assert load_environment_files().is_production

    def test_elsewhere_it_may_be_anybodys(self) -> None:
        written(0o644, APP_ENV="development")
        assert load_environment_files().app_name == "from-the-file"

    def test_a_name_in_small_letters_counts(self) -> None:
        written(0o644, APP_ENV="", app_env="production")
        assert "chmod" in refused()
        with pytest.raises(ConfigurationError, match="chmod 600"):
            Settings()

    def test_the_environment_says_where_this_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written(0o644, APP_ENV="development")
        monkeypatch.setenv("APP_ENV", "production")
        assert "chmod" in refused()

    def test_every_file_counts_and_a_link_is_what_it_leads_to(self) -> None:
        first, second = written(0o600), written(0o644, "secrets")
        Path("link").symlink_to(second)
        assert "secrets" in refused(first, second)
        assert "link" in refused(first, Path("link"))
        assert exposed_files([first, second, Path("absent"), Path()]) == [second]

    def test_the_service_refuses_it_too(self) -> None:
        path = written(0o644)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            Settings()
        assert Settings(app_env="development").app_name == "from-the-file"
        path.chmod(stat.S_IRUSR)
        assert Settings().is_production


class TestLoading:
    def test_the_process_then_has_its_defaults(self) -> None:
        written()
        load_environment_files()
        assert get_db_url().startswith("postgresql+asyncpg://u:p@127.0.0.1:1/n")
        assert DataEncryptor([KEY]).decrypt(DataEncryptor().encrypt("word")) == "word"

    def test_the_environment_wins_and_the_last_file_before_the_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, last = written(LOG__LEVEL="ERROR"), written(name="last", APP_NAME="from-the-last")
        monkeypatch.setenv("LOG__LEVEL", "WARNING")
        settings = load_environment_files(first, last)
        assert (settings.app_name, settings.log.level) == ("from-the-last", "WARNING")
        assert os.environ["APP_NAME"] == "from-the-last"

    def test_a_database_that_is_configured_stays(self, database: Database) -> None:
        written()
        configure(database)
        load_environment_files()
        assert get_db_url() == database.url

    def test_without_a_file_the_environment_is_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", LINES["DATABASE_URL"])
        assert load_environment_files().postgres_url == LINES["DATABASE_URL"]

    def test_a_wrong_value_is_refused_by_name(self) -> None:
        written(APP_ENV="development", LOG__LEVEL="LOUD")
        with pytest.raises(ValidationError, match="log"):
            load_environment_files()

    async def test_a_script_works_after_it(self, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", postgres_url)
        load_environment_files()
        from sqlalchemy import text

        from app.core.db import default_database

        async with SessionManager(context="script") as db:
            found: Any = await db.scalar(text("SELECT 1"))
        await default_database().close()
        assert found == 1


@pytest.mark.parametrize("keys", ["", KEY])
def test_the_secret_key_stands_in_for_a_missing_one_in_development_only(keys: str) -> None:
    written(ENCRYPTION_KEYS=keys, APP_ENV="development")
    load_environment_files()
    assert DataEncryptor([keys or "s" * 48]).decrypt(DataEncryptor().encrypt("word")) == "word"
    os.environ["APP_ENV"] = "production"
    if not keys:
        with pytest.raises(ValidationError, match="ENCRYPTION_KEYS is not set"):
            load_environment_files()


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"APP_NAME=\xe9\xff\n", "UnicodeDecodeError"),
            (b"APP_NAME=secret\0x\n", "NUL"),
            (None, "IsADirectoryError"),
        ],
    )
    def test_what_is_no_text_is_refused_by_name_and_not_used(self, content: bytes | None, says: str) -> None:
        path = Path("odd.env")
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(b"VALKEY_URL=valkey://127.0.0.1:1/0\n" + content)
        with pytest.raises(ConfigurationError, match=says) as caught:
            load_environment_files(path)
        assert "odd.env" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert "VALKEY_URL" not in os.environ

    def test_a_byte_order_mark_hides_no_name(self) -> None:
        Path("marked.env").write_bytes("\ufeffAPP_NAME=marked\n".encode())
        assert load_environment_files("marked.env").app_name == "marked"
