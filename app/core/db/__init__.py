"""The database: URL, pool, sessions, the models' base, errors, the schema's versions.

A handler asks for ``get_db``, a script for ``get_db_context()``; nobody commits by hand, though it works.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._advisory import AdvisoryLocks
from app.core.db._after_commit import after_commit, after_commit_idle
from app.core.db._database import Database, PoolStatus, Probe
from app.core.db._encrypted import EncryptedText, encrypted_columns
from app.core.db._errors import (
    ConstraintViolated,
    DatabaseError,
    DatabaseFault,
    DatabaseReadOnly,
    DatabaseTimeout,
    DatabaseUnavailable,
    InvalidValue,
    PoolExhausted,
    SerializationFailure,
    translate,
    translate_errors,
)
from app.core.db._idempotency import StoredResult, find_result, keep_result, purge_results
from app.core.db._migrations import (
    current_heads,
    is_at_head,
    migration_connection,
    pending,
    run_command,
    upgrade,
)
from app.core.db._models import Base, Timestamps, UUIDPrimaryKey
from app.core.db._rotation import ColumnRotation, Turn
from app.core.db._savepoint import Savepoint
from app.core.db._sessions import (
    SessionManager,
    SessionScope,
    configure,
    default_database,
    get_db,
    get_db_context,
    get_db_url,
    savepoint,
    session_scope,
)
from app.core.db._url import normalize_url

__all__ = [
    "AdvisoryLocks",
    "AsyncSession",
    "Base",
    "ColumnRotation",
    "ConstraintViolated",
    "Database",
    "DatabaseError",
    "DatabaseFault",
    "DatabaseReadOnly",
    "DatabaseTimeout",
    "DatabaseUnavailable",
    "EncryptedText",
    "InvalidValue",
    "PoolExhausted",
    "PoolStatus",
    "Probe",
    "Savepoint",
    "SerializationFailure",
    "SessionManager",
    "SessionScope",
    "StoredResult",
    "Timestamps",
    "Turn",
    "UUIDPrimaryKey",
    "after_commit",
    "after_commit_idle",
    "configure",
    "current_heads",
    "default_database",
    "encrypted_columns",
    "find_result",
    "get_db",
    "get_db_context",
    "get_db_url",
    "is_at_head",
    "keep_result",
    "migration_connection",
    "normalize_url",
    "pending",
    "purge_results",
    "run_command",
    "savepoint",
    "session_scope",
    "translate",
    "translate_errors",
    "upgrade",
]
