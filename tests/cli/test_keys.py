"""``keys rotate``, from arguments to exit code, on a real server; stopped by signals too."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any, cast

import pytest
from sqlalchemy import select, text

from app.core.db import Database, EncryptedText
from app.core.security import configure_encryption
from app.registry import FEATURES, Feature
from tests.cli.test_commands import Command, command, servers_environment
from tests.core.db.patients import SCHEMA, Patient, admit, id_of, stored, wards
from tests.nursery import Child, start

__all__ = ["command", "servers_environment"]
OLD, NEW = "an old key of command tests of 32 bytes or more", "a new key of command tests of 32 bytes or more"
BOTH = {"ENCRYPTION_KEYS": f"{NEW},{OLD}"}
OWN_COLUMNS = (
    "mfa_factors.secret",
    "refresh_tokens.successor",
    "webhook_endpoints.former_secret",
    "webhook_endpoints.secret",
)
OWN = "".join(f"{column}: 0 rotated, 0 unreadable, 0 left\n" for column in OWN_COLUMNS)
STAYS = "stays.cause: 0 rotated, 0 unreadable, 0 left\n"


@pytest.fixture(autouse=True)
async def patients(
    database: Database, monkeypatch: pytest.MonkeyPatch, servers_environment: dict[str, str]
) -> AsyncIterator[None]:
    """Ten of them under the old key; the command knows their table."""
    models = cast("Any", (Patient,))
    monkeypatch.setattr("app.cli._keys.FEATURES", (*FEATURES, Feature(name="wards", models=models)))
    configure_encryption([OLD])
    async with wards(database):
        await admit(database, 10)
        yield
    configure_encryption(None)


async def rotated(database: Database) -> int:
    return sum((value or "").startswith(f"{id_of(NEW)}.") for value in await stored(database))


async def numbers(database: Database) -> set[str | None]:
    configure_encryption([NEW])
    async with database.session() as session:
        return set(await session.scalars(select(Patient.ssn)))


class TestOneRun:
    def test_counts_then_rotates_then_has_nothing_left(self, command: Command) -> None:
        counted = command("keys", "rotate", "--dry-run", "--json", **BOTH)
        assert (counted.code, counted.json["key"]) == (0, id_of(NEW))
        assert counted.json["columns"][len(OWN_COLUMNS)] == {
            "column": "patients.ssn", "rotated": 0, "unreadable": 0, "left": 10, "reason": None,
        }  # fmt: skip
        done = command("keys", "rotate", "--batch", "3", **BOTH)
        assert (done.code, done.output) == (
            0,
            OWN + "patients.ssn: 10 rotated, 0 unreadable, 0 left\n" + STAYS,
        )
        again = command("keys", "rotate", "--json", ENCRYPTION_KEYS=NEW)
        of_patients = again.json["columns"][len(OWN_COLUMNS)]
        assert (again.code, of_patients["rotated"], of_patients["left"]) == (0, 0, 0)

    def test_without_the_old_key_it_fails_and_says_which_is_missing(self, command: Command) -> None:
        failed = command("keys", "rotate", ENCRYPTION_KEYS=NEW)
        assert (failed.code, failed.output) == (
            1,
            OWN + "patients.ssn: 0 rotated, 10 unreadable, 10 left\n" + STAYS,
        )
        assert id_of(OLD) in failed.errors
        assert "not among ENCRYPTION_KEYS" in failed.errors

    @pytest.mark.parametrize("batch", ["0", "5001", "many"])
    def test_a_batch_that_is_none_is_wrong_usage(self, command: Command, batch: str) -> None:
        assert command("keys", "rotate", "--batch", batch, **BOTH).code == 2

    def test_no_key_is_shown(self, command: Command) -> None:
        outcome = command("keys", "rotate", "--json", **BOTH)
        assert not any(key in outcome.output + outcome.errors for key in (OLD, NEW))

    def test_the_services_own_tables_are_looked_through(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.cli._keys.FEATURES", FEATURES)
        found = command("keys", "rotate", "--json", **BOTH)
        own = [
            str(column)
            for feature in FEATURES
            for model in feature.models
            for column in model.__table__.columns
            if isinstance(column.type, EncryptedText)
        ]
        assert [column["column"] for column in found.json["columns"]] == sorted(own)
        said = command("keys", "rotate", **BOTH).output
        assert (said == "No model has an encrypted column.\n") is not bool(own)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_stopped_by_a_signal_it_goes_on_in_the_next_run(
    database: Database, servers_environment: dict[str, str], number: signal.Signals, tmp_path: Path
) -> None:
    environment = {**os.environ, **servers_environment, **BOTH}

    def rotating(output: IO[bytes]) -> Child:
        arguments, number = ("keys", "rotate", "--batch", "3"), output.fileno()
        return start("tests.cli.rotating", *arguments, environment=environment, stdout=number, stderr=number)

    async with database.engine.connect() as other, asyncio.timeout(60):
        await other.execute(text(f"SELECT 1 FROM {SCHEMA}.patients WHERE id = 5 FOR UPDATE"))
        with (tmp_path / "first").open("wb") as file:
            process = rotating(file)
        while await rotated(database) < 3:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, 60) != 0
    assert await rotated(database) == 3
    with (tmp_path / "second").open("wb") as file:
        code = await asyncio.to_thread(rotating(file).wait, 60)
    assert (code, (tmp_path / "second").read_text()) == (
        0,
        OWN + "patients.ssn: 7 rotated, 0 unreadable, 0 left\n" + STAYS,
    )
    assert await numbers(database) == {f"number {n}" for n in range(1, 11)}
