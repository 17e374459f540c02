"""A column whose texts are encrypted on their way to the database and decrypted on their way back."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import BindParameter, ClauseElement, Column, MetaData, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.operators import OperatorType, eq, is_, is_not, ne

from app.core.db._query_reading import note_secret
from app.core.db._stored_text import StoredText
from app.core.errors import ConfigurationError
from app.core.security import DataEncryptor


class _Comparator(TypeDecorator.Comparator[str]):
    """Equal texts are different tokens: every comparison but that with NULL would quietly find nothing."""

    __slots__ = ()

    def operate(self, op: OperatorType, *other: Any, **options: Any) -> Any:
        if not _makes_sense(op, other):
            raise ConfigurationError(
                "An encrypted column can be neither searched nor sorted by; only is_(None) and is_not(None) are possible"
            )
        return super().operate(op, *other, **options)


def _makes_sense(op: OperatorType, other: tuple[Any, ...]) -> bool:
    if op in (eq, ne):
        # SQLAlchemy compares columns with == when it looks them up in its dictionaries, never with parameters.
        return other[0] is None or (
            isinstance(other[0], ClauseElement) and not isinstance(other[0], BindParameter)
        )
    return op in (is_, is_not)


class EncryptedText(TypeDecorator[str]):
    """``phone: Mapped[str | None] = mapped_column(EncryptedText("users.phone"))``; TEXT in the database.

    purpose: what the texts are, as ``table.column``; part of the key, so a value that somebody moves to another column does not open.
        Never change it while rows exist. A value that is moved to another row of the same column does open.
    encryptor: by default that of the process's keys, looked up at each use.

    NULL stays NULL. Only ``is_(None)`` and ``is_not(None)`` can be asked in SQL: anything else raises ConfigurationError. Reading raises
    DecryptionFailed when the key is not there, when the value was changed, and when it was never encrypted; a migration that begins to
    encrypt a column must therefore rewrite its rows. ``python -m app keys rotate`` re-encrypts all such columns. A value costs about 30
    microseconds; not for large texts.
    """

    impl = Text
    cache_ok = True
    comparator_factory = _Comparator

    def __init__(self, purpose: str, *, encryptor: DataEncryptor | None = None) -> None:
        super().__init__()
        if not purpose:
            raise ValueError("EncryptedText needs a purpose, such as 'users.phone'")
        self.purpose = purpose
        self.encryptor = encryptor

    def cipher(self) -> DataEncryptor:
        """What encrypts this column now. Raises ConfigurationError when no keys are configured."""
        if self.encryptor is not None:
            return self.encryptor.for_purpose(self.purpose)
        return DataEncryptor(purpose=self.purpose)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The token of a text."""
        return None if value is None else str(StoredText.of(value, self.cipher()))

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The text of a token."""
        if value is None:
            return None
        note_secret()
        return StoredText.parse(value, self.purpose).open(self.cipher())


def encrypted_columns(metadata: Iterable[MetaData]) -> Iterator[Column[Any]]:
    """Every column of these tables that is encrypted, table by table; tables and columns by their names."""
    for one in metadata:
        for _, table in sorted(one.tables.items()):
            found = [column for column in table.columns if isinstance(column.type, EncryptedText)]
            yield from sorted(found, key=lambda column: column.name)
