"""How the documents call what capabilities B, C and D name: arguments, keywords, and what is awaited."""

import re
from inspect import Parameter, getattr_static, iscoroutinefunction, signature
from typing import Any

from app.builtin import accounts
from app.core import db, jobs, monitor, security
from app.settings import load_environment_files
from tests.cases import each_case

CALLS = (
    # B, database utilities
    "get_db_url()",
    "get_db_client()",
    "load_environment_files()",
    "ConnectionPool()",
    "ConnectionPool.session_scope()",
    "await QueryOptimizer.optimized_query(Model, params, session)",
    "await QueryOptimizer.optimize_single_object_query(Model, params, session)",
    "OptimizedQuerySetMixin(session)",
    "await OptimizedQuerySetMixin.optimized_query(params)",
    "await OptimizedQuerySetMixin.optimize_single_object_query(params)",
    "retry_decorator(max_retries=)",
    "retry_decorator(max_attempts=, exceptions=)",
    "retry_decorator(function)",
    "with_secure_environment(function)",
    "with_engine_connection(function)",
    "with_query_optimization(function)",
    "with_pool_metrics(function)",
    "with_encrypted_parameters(function)",
    "DataEncryptor()",
    "DataEncryptor.encrypt(text)",
    "DataEncryptor.decrypt(text)",
    "DataEncryptor.encrypt_data(text)",
    "DataEncryptor.decrypt_data(text)",
    "await get_password_hash(password)",
    "await verify_password(password, hash)",
    "await create_access_token(data)",
    # Background jobs
    "await publish_job_to_pulsar(payload, user_id)",
    # C, sessions and the query cache
    "get_db_context()",
    "SessionManager(context=)",
    "cached_query(ttl=)",
    "await cached_db_query(db, sql, params, ttl=)",
    "await invalidate_table_cache(table)",
    # D, repositories and tools
    "AsyncBaseRepository(Model, session)",
    "await AsyncBaseRepository.create(data)",
    "await AsyncBaseRepository.get_by_id(id)",
    "await AsyncBaseRepository.update(row, data)",
    "await AsyncBaseRepository.delete(row)",
    "await AsyncBaseRepository.get_paginated(pagination, order_by=)",
    "await AsyncBaseRepository.get_by_filters(filters)",
    "await AsyncBaseRepository.get_first_by_filters(filters)",
    "await AsyncBaseRepository.get_by_id_with_relations(id, relations=)",
    "await AsyncBaseRepository.get_by_id_with_relations(id, relations)",
    "await AsyncBaseRepository.get_all()",
    "await AsyncBaseRepository.get_all_with_relations(relations=, pagination=)",
    "await AsyncBaseRepository.bulk_create(data)",
    "await AsyncBaseRepository.bulk_update(data)",
    "await AsyncBaseRepository.bulk_delete(ids)",
    "await AsyncBaseRepository.commit()",
    "await AsyncBaseRepository.rollback()",
    "PaginationParams(skip=, limit=)",
    "UnitOfWork(session)",
    "UnitOfWork.register_repository(name, repository)",
    "RepositoryFactory()",
    "RepositoryProvider(session)",
    "RepositoryProvider.get_repository(Model)",
    "MigrationUtils()",
    "MigrationUtils.list_migrations()",
    "MigrationUtils.validate_migrations()",
    "await MigrationUtils.generate_migration(message)",
    "await MigrationUtils.show_migration_status()",
    "await MigrationUtils.get_migration_history()",
    "await MigrationDryRun.dry_run_upgrade(revision)",
    "await SeedDataManager.seed_development(db)",
    "await SeedDataManager.seed_test_fixtures(db)",
    "await SeedDataManager.seed_demo(db)",
    "QueryAnalyzer.enable_query_logging(engine, verbose=)",
    "QueryAnalyzer.detect_n_plus_one(session)",
    "await QueryAnalyzer.analyze_query_plan(session, query)",
    "await QueryAnalyzer.get_table_stats(session, Model)",
    "QueryDecorator.track_performance(threshold_ms=)",
    "QueryDecorator.cache_result(ttl_seconds=)",
    "await BulkOperations.bulk_insert(session, Model, data)",
    "await BulkOperations.bulk_update(session, Model, data)",
    "await BulkOperations.bulk_delete(session, Model, ids)",
    "FilterHelper.apply_filters(query, filters)",
    "FilterHelper.apply_range_filter(query, field, Model, min_val=, max_val=)",
    "FilterHelper.apply_search(query, Model, text, fields=)",
    "SortHelper.apply_sort(query, Model, order)",
    # The total needs a session, which the document leaves out.
    "await PaginationHelper.paginate(query, skip=, limit=, session=)",
    "PaginationHelper.get_pagination_info(total=, skip=, limit=)",
    "ConnectionPoolMonitor(engine)",
    "ConnectionPoolMonitor.get_current_metrics()",
    "ConnectionPoolMonitor.is_healthy(max_utilization=)",
    "ConnectionPoolMonitor.get_metrics_summary()",
    "QueryLatencyTracker(slow_query_threshold_ms=)",
    "QueryLatencyTracker.record_query(sql, duration_ms=)",
    "QueryLatencyTracker.get_metrics()",
    "QueryLatencyTracker.get_slow_queries(limit=)",
    "DatabaseHealthCheck(engine, session)",
    "await DatabaseHealthCheck.run_full_check()",
    "await DatabaseHealthCheck.get_health_status()",
    "await DatabaseHealthCheck.is_healthy(max_pool_utilization=, max_avg_query_time=)",
    "IndexUsageAnalyzer(session)",
    "await IndexUsageAnalyzer.get_unused_indexes()",
    "await IndexUsageAnalyzer.get_index_efficiency()",
    "TableSizeMonitor(session)",
    "await TableSizeMonitor.get_table_sizes()",
    "await TableSizeMonitor.get_largest_tables(limit=)",
    "await TableSizeMonitor.get_growth_trend(table)",
)
DEFAULTS = {
    "ConnectionPoolMonitor.is_healthy": ("max_utilization", 85.0),
    "QueryLatencyTracker.__init__": ("slow_query_threshold_ms", 100),
    "QueryLatencyTracker.get_slow_queries": ("limit", 5),
    "DatabaseHealthCheck.is_healthy": ("max_avg_query_time", 200.0),
    "QueryDecorator.track_performance": ("threshold_ms", 100),
    "QueryDecorator.cache_result": ("ttl_seconds", 300),
    "cached_query": ("ttl", 300),
}
_CALL = re.compile(r"(await )?(?:(\w+)\.)?(\w+)\((.*)\)")


def found(name: str) -> Any:
    if name == "load_environment_files":
        return load_environment_files
    rooms = (db, security, monitor, jobs)
    return next((getattr(room, name) for room in rooms if hasattr(room, name)), None) or getattr(
        accounts, name
    )


@each_case("call", CALLS)
def test_a_call_of_the_documents_fits_what_there_is(call: str) -> None:
    parts = _CALL.fullmatch(call)
    assert parts is not None
    awaited, owner, name, given = parts.groups()
    target: Any = found(name) if owner is None else getattr(found(owner), name)
    arguments = [part for part in given.split(", ") if part]
    positional: list[Any] = [part for part in arguments if not part.endswith("=")]
    if owner is not None and not isinstance(getattr_static(found(owner), name), staticmethod | classmethod):
        positional.insert(0, None)  # self
    signature(target).bind(*positional, **{part[:-1]: None for part in arguments if part.endswith("=")})
    assert iscoroutinefunction(target) == bool(awaited)
    assert target.__doc__


@each_case(("name", "default"), DEFAULTS.items())
def test_a_default_is_that_of_the_documents(name: str, default: tuple[str, Any]) -> None:
    owner, _, method = name.rpartition(".")
    target: Any = getattr(found(owner), method) if owner else found(name)
    parameter: Parameter = signature(target).parameters[default[0]]
    assert parameter.default == default[1]
