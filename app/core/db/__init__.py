"""The database: URL, pool, sessions, the models' base, errors, the schema's versions.

A handler asks for ``get_db``, a script for ``get_db_context()``, who only reads for ``get_read_db``; nobody commits by hand, though it
works.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._advisory import AdvisoryLocks
from app.core.db._after_commit import after_commit, after_commit_idle
from app.core.db._call_path import call_path
from app.core.db._client import DatabaseClient, get_db_client
from app.core.db._cursor import CursorSigner, configure_cursors
from app.core.db._database import Database
from app.core.db._database_status import PoolStatus, Probe, ReplicaStatus
from app.core.db._decorators import (
    FROM_POOL,
    with_engine_connection,
    with_pool_metrics,
    with_query_optimization,
    with_secure_environment,
)
from app.core.db._default import configure, default_database, get_db_url
from app.core.db._encrypted import EncryptedText, encrypted_columns
from app.core.db._environment import configure_environment
from app.core.db._errors import (
    DRIVER_ERRORS,
    CommitOutcomeUnknown,
    ConstraintViolated,
    DatabaseError,
    DatabaseFault,
    DatabaseReadOnly,
    DatabaseTimeout,
    DatabaseUnavailable,
    InvalidValue,
    PoolExhausted,
    ReadOnlySession,
    SerializationFailure,
    sqlstate_of,
    translate,
    translate_errors,
)
from app.core.db._events_log import EventLog
from app.core.db._factory import RepositoryFactory, RepositoryProvider
from app.core.db._filters import AllOf, AnyOf, Between, Filter, Filters, Not, Search, Where
from app.core.db._grammar import FilterGrammar
from app.core.db._helpers import BulkOperations, FilterHelper, PaginationHelper, SortHelper
from app.core.db._idempotency import StoredResult, find_result, keep_result, purge_results
from app.core.db._leaks import ConnectionLeaked, forbid_connection_leaks
from app.core.db._listeners import StatementTiming
from app.core.db._migration_dry_run import MigrationDryRun
from app.core.db._migration_files import Migration
from app.core.db._migration_utils import MigrationStatus, MigrationUtils
from app.core.db._migrations import (
    current_heads,
    is_at_head,
    migration_connection,
    pending,
    run_command,
    upgrade,
)
from app.core.db._models import Base, Timestamps, UUIDPrimaryKey
from app.core.db._optimized_read import ReadOptions
from app.core.db._pages import CursorPage, Page, PaginationParams
from app.core.db._partitions import is_partition, keep_partitions
from app.core.db._performance import track_performance
from app.core.db._pool import ConnectionPool, PoolCircuitOpen, PoolHealth
from app.core.db._prepared_text import PreparedText, QueryNotExplainable, prepared_text, readable
from app.core.db._query_analyzer import QueryAnalyzer, QueryDecorator
from app.core.db._query_cache import cached_db_query, cached_query, invalidate_table_cache
from app.core.db._query_errors import (
    InvalidCursor,
    InvalidFieldValue,
    InvalidLimit,
    QueryRefused,
    UnknownField,
    UnknownOperator,
)
from app.core.db._query_log import QueryLogging, detect_n_plus_one, enable_query_logging
from app.core.db._query_optimizer import QueryOptimizer
from app.core.db._query_plan import PlanNode, QueryPlan, analyze_query_plan
from app.core.db._query_set import OptimizedQuerySetMixin
from app.core.db._query_tags import QUERY_TAGS, QueryTags
from app.core.db._query_watch import (
    NPlusOneDetected,
    QueryWatch,
    RepeatedQuery,
    forbid_n_plus_one,
    watch_queries,
)
from app.core.db._replica import Replica
from app.core.db._repository import AsyncBaseRepository
from app.core.db._rotation import ColumnRotation, Turn
from app.core.db._savepoint import Savepoint
from app.core.db._schema_history import HISTORY_TABLE, HistoryEntry, record_step
from app.core.db._seed_set import DevelopmentSeed, SeedSet, SeedTable, seed_id
from app.core.db._seeds import SeedDataManager, SeedingRefused, SeedResult, configure_seeds
from app.core.db._session_scope import SessionScope, request_session, savepoint, session_scope
from app.core.db._session_types import ReadSession, WriteSession
from app.core.db._sessions import SessionManager, get_db, get_db_context, get_read_db, get_read_db_context
from app.core.db._shape import reads_tables, shape_of
from app.core.db._sorting import OrderBy, SortKey, parse_sort
from app.core.db._statements import RowLock
from app.core.db._table_stats import TableStats, get_table_stats
from app.core.db._tables_used import TablesUsed, tables_used
from app.core.db._undone import when_undone
from app.core.db._unit_of_work import UnitOfWork
from app.core.db._url import normalize_url
from app.core.resilience import retry_decorator
from app.core.security import with_encrypted_parameters

__all__ = [
    "DRIVER_ERRORS",
    "FROM_POOL",
    "HISTORY_TABLE",
    "QUERY_TAGS",
    "AdvisoryLocks",
    "AllOf",
    "AnyOf",
    "AsyncBaseRepository",
    "AsyncSession",
    "Base",
    "Between",
    "BulkOperations",
    "ColumnRotation",
    "CommitOutcomeUnknown",
    "ConnectionLeaked",
    "ConnectionPool",
    "ConstraintViolated",
    "CursorPage",
    "CursorSigner",
    "Database",
    "DatabaseClient",
    "DatabaseError",
    "DatabaseFault",
    "DatabaseReadOnly",
    "DatabaseTimeout",
    "DatabaseUnavailable",
    "DevelopmentSeed",
    "EncryptedText",
    "EventLog",
    "Filter",
    "FilterGrammar",
    "FilterHelper",
    "Filters",
    "HistoryEntry",
    "InvalidCursor",
    "InvalidFieldValue",
    "InvalidLimit",
    "InvalidValue",
    "Migration",
    "MigrationDryRun",
    "MigrationStatus",
    "MigrationUtils",
    "NPlusOneDetected",
    "Not",
    "OptimizedQuerySetMixin",
    "OrderBy",
    "Page",
    "PaginationHelper",
    "PaginationParams",
    "PlanNode",
    "PoolCircuitOpen",
    "PoolExhausted",
    "PoolHealth",
    "PoolStatus",
    "PreparedText",
    "Probe",
    "QueryAnalyzer",
    "QueryDecorator",
    "QueryLogging",
    "QueryNotExplainable",
    "QueryOptimizer",
    "QueryPlan",
    "QueryRefused",
    "QueryTags",
    "QueryWatch",
    "ReadOnlySession",
    "ReadOptions",
    "ReadSession",
    "RepeatedQuery",
    "Replica",
    "ReplicaStatus",
    "RepositoryFactory",
    "RepositoryProvider",
    "RowLock",
    "Savepoint",
    "Search",
    "SeedDataManager",
    "SeedResult",
    "SeedSet",
    "SeedTable",
    "SeedingRefused",
    "SerializationFailure",
    "SessionManager",
    "SessionScope",
    "SortHelper",
    "SortKey",
    "StatementTiming",
    "StoredResult",
    "TableStats",
    "TablesUsed",
    "Timestamps",
    "Turn",
    "UUIDPrimaryKey",
    "UnitOfWork",
    "UnknownField",
    "UnknownOperator",
    "Where",
    "WriteSession",
    "after_commit",
    "after_commit_idle",
    "analyze_query_plan",
    "cached_db_query",
    "cached_query",
    "call_path",
    "configure",
    "configure_cursors",
    "configure_environment",
    "configure_seeds",
    "current_heads",
    "default_database",
    "detect_n_plus_one",
    "enable_query_logging",
    "encrypted_columns",
    "find_result",
    "forbid_connection_leaks",
    "forbid_n_plus_one",
    "get_db",
    "get_db_client",
    "get_db_context",
    "get_db_url",
    "get_read_db",
    "get_read_db_context",
    "get_table_stats",
    "invalidate_table_cache",
    "is_at_head",
    "is_partition",
    "keep_partitions",
    "keep_result",
    "migration_connection",
    "normalize_url",
    "parse_sort",
    "pending",
    "prepared_text",
    "purge_results",
    "readable",
    "reads_tables",
    "record_step",
    "request_session",
    "retry_decorator",
    "run_command",
    "savepoint",
    "seed_id",
    "session_scope",
    "shape_of",
    "sqlstate_of",
    "tables_used",
    "track_performance",
    "translate",
    "translate_errors",
    "upgrade",
    "watch_queries",
    "when_undone",
    "with_encrypted_parameters",
    "with_engine_connection",
    "with_pool_metrics",
    "with_query_optimization",
    "with_secure_environment",
]
