"""What is said of each setting, one rule a setting."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from app.core.monitor._figures import size
from app.core.monitor._panel import Severity

Verdict = Literal["ok", "look", "change"]
_MB: Final = 1024**2
_GB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules judge by. ``values`` as the server keeps them, ``memory`` the amounts of it in bytes; the rest is what goes on there."""

    values: Mapping[str, str]
    memory: Mapping[str, int]
    data_bytes: int
    table_bytes: int
    temp_bytes_a_day: float
    has_statements: bool
    timed: int
    requested: int
    wal_bytes: int | None


@dataclass(frozen=True, slots=True)
class Advice:
    """``severity`` None: it is shown, and no finding."""

    verdict: Verdict
    reason: str
    severity: Severity | None = None
    ddl: str | None = None


Rule = Callable[[Facts], Advice | None]


def _never_off(name: str, severity: Severity, reason: str) -> Rule:
    def rule(facts: Facts) -> Advice | None:
        is_off = facts.values[name] == "off"
        return Advice("change", reason, severity, f"ALTER SYSTEM SET {name} = on;") if is_off else None

    return rule


def _random_page_cost(facts: Facts) -> Advice | None:
    """https://www.postgresql.org/docs/current/runtime-config-query.html#GUC-RANDOM-PAGE-COST; break-even measured: 4 moves it 4x."""
    if float(facts.values["random_page_cost"]) < 4:
        return None
    reason = (
        "4 is for spinning disks; which disks there are cannot be seen from here. On SSD use 1.1: at 4 the planner leaves indexes"
        " that would be quicker, and advice on indexes follows it"
    )
    return Advice("look", reason, "info")


def _shared_buffers(facts: Facts) -> Advice | None:
    """https://www.postgresql.org/docs/current/runtime-config-resource.html#GUC-SHARED-BUFFERS: a quarter of the machine's memory."""
    shared = facts.memory["shared_buffers"]
    if shared > 128 * _MB or facts.data_bytes < 4 * shared:
        return None
    return Advice(
        "change",
        "The data is more than four times the default of shared memory; use a quarter of the machine's",
        "warning",
    )


def _work_mem(facts: Facts) -> Advice | None:
    if facts.temp_bytes_a_day < _GB:
        return None
    reason = (
        f"Sorts and hashes spilled {size(facts.temp_bytes_a_day)} a day to disk; each may use work_mem, many at once, so raise it"
        " for the statements that spill first"
    )
    return Advice("look", reason, "info")


def _effective_cache_size(facts: Facts) -> Advice | None:
    if facts.memory["effective_cache_size"] >= facts.memory["shared_buffers"]:
        return None
    return Advice(
        "change",
        "The planner is told of less cache than shared_buffers alone; use half of the memory or more",
        "warning",
    )


def _maintenance_work_mem(facts: Facts) -> Advice | None:
    if facts.memory["maintenance_work_mem"] > 64 * _MB or facts.table_bytes < 10 * _GB:
        return None
    return Advice(
        "look",
        "A table is over 10 GB; building its indexes and vacuuming it goes in more rounds than it must",
        "info",
    )


def _no_limit(name: str, severity: Severity | None, reason: str) -> Rule:
    def rule(facts: Facts) -> Advice | None:
        return Advice("look", reason, severity) if facts.values[name] == "0" else None

    return rule


def _synchronous_commit(facts: Facts) -> Advice | None:
    if facts.values["synchronous_commit"] != "off":
        return None
    return Advice(
        "change",
        "Commits that were answered are lost in a crash; switch it off for single transactions instead",
        "warning",
    )


def _max_wal_size(facts: Facts) -> Advice | None:
    """https://www.postgresql.org/docs/current/wal-configuration.html: checkpoints should come by time, not by the amount of WAL."""
    limit = facts.memory["max_wal_size"]
    if facts.requested >= 10 and facts.requested > facts.timed:
        reason = f"{facts.requested} checkpoints came because of WAL or by command, {facts.timed} by time; each writes whole pages anew"
        return Advice("change", reason, "warning")
    if facts.wal_bytes is not None and facts.wal_bytes > 2 * limit + _GB:
        reason = f"{size(facts.wal_bytes)} of WAL are kept: a slot, wal_keep_size or the archive holds them (see replication)"
        return Advice("look", reason, "warning")
    return None


def _statements_max(facts: Facts) -> Advice | None:
    if int(facts.values["pg_stat_statements.max"]) >= 5000:
        return None
    return Advice(
        "look",
        "Room for few statements: rare ones push each other out, and lists of slow ones are incomplete",
        "info",
    )


def _compute_query_id(facts: Facts) -> Advice | None:
    if facts.values["compute_query_id"] != "off":
        return None
    return Advice(
        "change",
        "Statements have no id, so none are counted",
        "warning",
        "ALTER SYSTEM RESET compute_query_id;",
    )


def _jit(facts: Facts) -> Advice | None:
    if facts.values["jit"] == "off":
        return None
    return Advice(
        "look",
        "Compiling costs more than short statements take; this service switches it off where it connects directly",
    )


def _wal_level(facts: Facts) -> Advice | None:
    if facts.values["wal_level"] != "minimal":
        return None
    return Advice("look", "No standby and no backup to a point in time is possible", "warning")


def _query_size(facts: Facts) -> Advice | None:
    if int(facts.values["track_activity_query_size"]) > 1024:
        return None
    return Advice("look", "Running statements are cut after 1,024 bytes where they are shown")


RULES: Final[Mapping[str, Rule]] = {
    "autovacuum": _never_off("autovacuum", "critical", "Nothing is vacuumed or analysed; tables grow, plans go wrong, writes stop at last"),
    "compute_query_id": _compute_query_id,
    "effective_cache_size": _effective_cache_size,
    "fsync": _never_off("fsync", "critical", "A crash of the machine can destroy all data"),
    "full_page_writes": _never_off("full_page_writes", "critical", "A crash can tear pages, unless the file system never does"),
    "idle_in_transaction_session_timeout": _no_limit(
        "idle_in_transaction_session_timeout", "info", "A transaction that somebody forgot holds its locks and dead rows forever"),
    "jit": _jit,
    "maintenance_work_mem": _maintenance_work_mem,
    "max_wal_size": _max_wal_size,
    "pg_stat_statements.max": _statements_max,
    "random_page_cost": _random_page_cost,
    "shared_buffers": _shared_buffers,
    "statement_timeout": _no_limit(
        "statement_timeout", None, "No statement has a limit unless its client sets one; this service does where it connects directly"),
    "synchronous_commit": _synchronous_commit,
    "track_activities": _never_off("track_activities", "warning", "Nobody can see what runs or who waits"),
    "track_activity_query_size": _query_size,
    "track_counts": _never_off("track_counts", "critical", "Autovacuum sees no changes, so it does nothing"),
    "track_io_timing": _never_off("track_io_timing", "info", "How long reads take is not measured; it costs little on today's machines"),
    "wal_level": _wal_level,
    "work_mem": _work_mem,
}  # fmt: skip
