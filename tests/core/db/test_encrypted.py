"""What an encrypted column stores nobody else can read; what it reads is what was stored, or an error."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sqlalchemy import MetaData, bindparam, literal, select, text, update
from sqlalchemy.dialects import postgresql

from app.core.db import Database, EncryptedText, encrypted_columns
from app.core.db._stored_text import StoredText
from app.core.errors import ConfigurationError
from app.core.security import DataEncryptor, DecryptionFailed, configure_encryption
from tests.core.db.patients import SCHEMA, Patient, Stay, Wards, admit, id_of, stored, wards

unhurried = limits(deadline=None)  # a busy machine is no failure
OLD, NEW = "an old key of column tests, 32 bytes or more", "a new key of column tests, 32 bytes or more"
SSN = "078-05-1120"


@pytest.fixture(autouse=True)
def keys() -> Iterator[None]:
    configure_encryption([OLD])
    yield
    configure_encryption(None)


@pytest.fixture
async def tables(database: Database) -> AsyncIterator[None]:
    async with wards(database):
        yield


async def written(database: Database, value: str) -> None:
    """Somebody writes to the table by hand."""
    async with database.engine.begin() as connection:
        await connection.execute(text(f"UPDATE {SCHEMA}.patients SET ssn = :value"), {"value": value})


async def read(database: Database) -> Patient | None:
    async with database.session() as session:
        return await session.get(Patient, 1)


@pytest.mark.usefixtures("tables")
class TestOnTheServer:
    @pytest.mark.parametrize("value", [SSN, "", "Ünïcode ☃", "a\0b", "x" * 100_000, None])
    async def test_a_text_comes_back_and_is_nowhere_readable(
        self, database: Database, value: str | None
    ) -> None:
        async with database.session() as session:
            session.add(Patient(id=1, ssn=value))
            await session.commit()
        patient = await read(database)
        assert patient is not None
        assert patient.ssn == value
        (raw,) = await stored(database)
        assert (raw is None) == (value is None)
        if raw is not None:
            assert raw.startswith(f"{id_of(OLD)}.")
            assert not value or value not in raw

    async def test_only_null_can_be_asked_for(self, database: Database) -> None:
        await admit(database, 1)
        async with database.session() as session:
            session.add(Patient(id=2))
            await session.commit()
            known = await session.scalars(select(Patient.id).where(Patient.ssn.is_not(None)))
            unknown = await session.scalars(select(Patient.id).where(Patient.ssn.is_(None)))
            assert (known.all(), unknown.all()) == ([1], [2])

    async def test_an_older_key_still_opens_it_and_what_is_written_gets_the_newest(
        self, database: Database
    ) -> None:
        await admit(database, 1)
        configure_encryption([NEW, OLD])
        patient = await read(database)
        assert patient is not None
        assert patient.ssn == "number 1"
        async with database.session() as session:
            await session.execute(update(Patient).values(ssn="another"))
            await session.commit()
        (raw,) = await stored(database)
        assert (raw or "").startswith(f"{id_of(NEW)}.")

    async def test_without_its_key_it_is_an_error_that_names_column_and_key(self, database: Database) -> None:
        await admit(database, 1)
        configure_encryption([NEW])
        with pytest.raises(DecryptionFailed) as caught:
            await read(database)
        assert "patients.ssn" in str(caught.value)
        assert id_of(OLD) in str(caught.value)
        assert "ENCRYPTION_KEYS" in str(caught.value)

    async def test_what_somebody_changed_or_wrote_plainly_is_an_error(self, database: Database) -> None:
        await admit(database, 1)
        (raw,) = await stored(database)
        assert raw is not None
        for value, says in ((raw[:-5] + "AAAA=", "was changed"), (SSN, "is not encrypted")):
            await written(database, value)
            with pytest.raises(DecryptionFailed, match=f"patients.ssn {says}"):
                await read(database)

    @pytest.mark.parametrize(
        "plain", ["jane.doe.secret", "12345678.90", "johnsmit.h@example.com", "\x1b[31mabc.x", "."]
    )
    async def test_no_part_of_a_plain_text_is_taken_for_a_key_and_named(
        self, database: Database, plain: str
    ) -> None:
        await admit(database, 1)
        await written(database, plain)
        with pytest.raises(DecryptionFailed, match="is not encrypted") as caught:
            await read(database)
        assert plain == "." or plain[:5] not in str(caught.value)

    async def test_what_is_moved_from_another_column_does_not_open(self, database: Database) -> None:
        async with database.session() as session:
            session.add_all([Patient(id=1, ssn=SSN), Stay(ward="north", day=1, cause="measles")])
            await session.commit()
        (cause,) = await stored(database, "cause", "stays")
        await written(database, cause or "")
        with pytest.raises(DecryptionFailed, match="was changed"):
            await read(database)


class TestStoredText:
    CIPHER = DataEncryptor([NEW, OLD], purpose="x")

    @unhurried
    @given(value=st.text())
    def test_it_is_read_as_it_was_written(self, value: str) -> None:
        raw = str(StoredText.of(value, self.CIPHER))
        assert StoredText.parse(raw, "x").open(self.CIPHER) == value

    @unhurried
    @given(at=st.integers(0, 110), letter=st.characters())
    def test_no_change_goes_unnoticed(self, at: int, letter: str) -> None:
        raw = str(StoredText.of("a text", self.CIPHER))
        changed = raw[:at] + letter + raw[at + 1 :]
        if changed == raw:
            return
        # The id says only which key it was; under the token's own key the text is still the right one.
        try:
            found = StoredText.parse(changed, "x").open(self.CIPHER)
        except DecryptionFailed:
            return
        assert at < 8
        assert found == "a text"


class TestUse:
    @pytest.mark.parametrize(
        "ask",
        [
            lambda column: column == SSN,
            lambda column: column != SSN,
            lambda column: column == literal(SSN),
            lambda column: column == bindparam("ssn"),
            lambda column: column.in_([SSN]),
            lambda column: column.like("0%"),
            lambda column: column.startswith("0"),
            lambda column: column > "0",
            lambda column: column.desc(),
            lambda column: column + "x",
        ],
    )
    def test_what_would_quietly_find_nothing_is_refused(self, ask: Any) -> None:
        with pytest.raises(ConfigurationError, match="neither searched nor sorted"):
            ask(Patient.ssn)

    def test_it_is_never_written_into_a_statement(self) -> None:
        statement = select(literal(SSN, EncryptedText("x", encryptor=DataEncryptor([NEW]))))
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        rendered = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        assert SSN not in rendered
        assert id_of(NEW) in rendered

    def test_it_needs_a_purpose_and_keys(self) -> None:
        with pytest.raises(ValueError, match="purpose"):
            EncryptedText("")
        configure_encryption(None)
        with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS"):
            EncryptedText("x").cipher()
        assert EncryptedText("x", encryptor=DataEncryptor([NEW])).cipher().purpose == "x"

    def test_all_of_them_are_found(self) -> None:
        found = [str(column) for column in encrypted_columns([Wards.metadata, MetaData()])]
        assert found == ["patients.ssn", "stays.cause"]
