"""Every public name of the documents that exists so far, imported from where people look for it."""

from importlib import import_module
from inspect import isclass, signature
from pathlib import Path
from typing import Any

from fastapi_limiter.depends import RateLimiter as PackageRateLimiter

from app.cli._doctor import _sources
from app.core import RateLimit
from app.core.http import RateLimiter
from app.settings import Settings
from tests.cases import each_case

BLOCKS = (
    "token_bucket", "token_bucket_limiter", "fixed_window", "sliding_window", "throttle", "debounce", "require_credits",
)  # fmt: skip
REPOSITORIES = (
    "AsyncBaseRepository", "PaginationParams", "UnitOfWork", "RepositoryFactory", "RepositoryProvider", "BulkOperations", "FilterHelper",
    "SortHelper", "PaginationHelper",
)  # fmt: skip
POOLS = (
    "ConnectionPool", "get_db_client", "retry_decorator", "with_engine_connection", "with_query_optimization", "with_pool_metrics",
    "with_secure_environment", "with_encrypted_parameters",
)  # fmt: skip
OPTIMIZER = ("QueryOptimizer", "OptimizedQuerySetMixin")
ACCOUNTS = ("get_password_hash", "verify_password", "create_access_token")
NAMES = (
    ("app.core", "JobConfig"),
    ("app.core", "enforce_all_policies"),
    ("app.core", "api_worker"),
    ("app.core", "APIRouter"),
    ("app.core", "RateLimiter"),
    ("app.core.jobs", "publish_job_to_pulsar"),
    ("app.core.http", "require_scope"),
    ("app.core.http", "roles_required"),
    ("app.core.http", "RateLimiter"),
    *[("app.core.http", name) for name in BLOCKS],
    ("app.core.resilience", "retry_decorator"),
    ("app.core.valkey", "get_or_set_cache"),
    *[("app.builtin.accounts", name) for name in ACCOUNTS],
    ("app.core.policies", "JobConfig"),
    ("app.core.policies", "RateLimit"),
    ("app.core.policies", "Security"),
    ("app.core.db", "get_db"),
    ("app.core.db", "get_db_context"),
    ("app.core.db", "SessionManager"),
    ("app.core.db", "get_db_url"),
    *[("app.core.db", name) for name in POOLS],
    ("app.core.db", "DatabaseError"),
    *[("app.core.db", name) for name in OPTIMIZER],
    ("app.core.db", "QueryAnalyzer"),
    ("app.core.db", "QueryDecorator"),
    ("app.core.db", "cached_query"),
    ("app.core.db", "cached_db_query"),
    ("app.core.db", "invalidate_table_cache"),
    ("app.core.db", "MigrationUtils"),
    ("app.core.db", "MigrationDryRun"),
    ("app.core.db", "SeedDataManager"),
    ("app.core.db", "DevelopmentSeed"),
    *[("app.core.db", name) for name in REPOSITORIES],
    ("app.core.monitor", "ConnectionPoolMonitor"),
    ("app.core.monitor", "QueryLatencyTracker"),
    ("app.core.monitor", "DatabaseHealthCheck"),
    ("app.core.monitor", "IndexUsageAnalyzer"),
    ("app.core.monitor", "TableSizeMonitor"),
    ("app.core.errors", "EntityNotFoundError"),
    ("app.core.db", "EncryptedText"),
    ("app.core.security", "DataEncryptor"),
    ("app.core.security", "with_encrypted_parameters"),
    ("app.settings", "load_environment_files"),
    ("app.core.observability", "record_db_latency"),
    ("app.core.observability", "get_tracer"),
)
SETTINGS = (
    "SECRET_KEY", "DB_ENCRYPTION_KEY", "ADMIN_DATABASE_URL", "REDIS_URL", "DB_POOL_SIZE", "DB_MAX_OVERFLOW", "DB_POOL_TIMEOUT",
    "DB_POOL_RECYCLE",
)  # fmt: skip
LIMITERS: dict[str, dict[str, Any]] = {
    "token_bucket": {"max_tokens": 5, "refill_rate": 1},
    "fixed_window": {"limit": 10, "window": 60},
    "sliding_window": {"limit": 10, "window": 60},
    "throttle": {"rate": 2, "per": 1},
    "debounce": {"interval": 2},
}
PATHS = (
    "/live",
    "/ready",
    "/health",
    "/health/db",
    "/auth/token",
    "/auth/refresh",
    "/auth/logout",
    "/users/me",
    "/records",
    "/records/{record_id}",
    "/heavy-calc",
    "/jobs",
    "/jobs/{job_id}",
    "/metrics",
)


@each_case(("module", "name"), NAMES)
def test_a_name_is_where_it_is_said_to_be_and_says_what_it_is(module: str, name: str) -> None:
    found = getattr(import_module(module), name)
    assert name in getattr(import_module(module), "__all__", [name])
    assert callable(found)
    assert found.__doc__


def test_not_found_is_no_fault_of_the_database() -> None:
    core, db = import_module("app.core.errors"), import_module("app.core.db")
    assert issubclass(db.DatabaseError, core.GatehouseError)
    assert not issubclass(core.EntityNotFoundError, db.DatabaseError)


def test_the_packages_rate_limiter_is_subclassed() -> None:
    assert isclass(RateLimiter)
    assert issubclass(RateLimiter, PackageRateLimiter)
    assert list(signature(RateLimiter).parameters) == list(signature(PackageRateLimiter).parameters)


@each_case("name", SETTINGS)
def test_a_setting_is_read_under_its_name(name: str) -> None:
    assert name.lower() in Settings.model_fields


def test_the_settings_are_in_the_example_and_listed_by_the_doctor() -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    listed = {source.name for source in _sources(Settings(_env_file=None))}
    assert [name for name in SETTINGS if f"\n# {name}=" not in example or name not in listed] == []


@each_case(("name", "arguments"), LIMITERS.items())
def test_a_limiter_takes_the_documents_arguments(name: str, arguments: dict[str, Any]) -> None:
    assert getattr(RateLimit, name)(**arguments).algorithm == name
    assert callable(getattr(import_module("app.core.http"), name)(**arguments))


async def test_every_path_is_served(app: Any) -> None:
    assert [path for path in PATHS if path not in {route.path for route in app.state.gatehouse.routes}] == []
