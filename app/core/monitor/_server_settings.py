"""Settings that hurt, or that change what the monitor advises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.monitor._panel import Finding
from app.core.monitor._server import Asked
from app.core.monitor._settings_rules import RULES, Facts, Verdict

# Locks nothing. reset_val is the server's value where this session has set its own.
# https://www.postgresql.org/docs/current/view-pg-settings.html
_SETTINGS = """
SELECT s.name, s.reset_val AS value, s.unit, s.source, s.boot_val AS initial, s.pending_restart
FROM pg_catalog.pg_settings s
WHERE s.name = ANY($1) OR s.pending_restart OR s.name = 'pg_stat_statements.max'
   OR (s.name LIKE 'enable\\_%' AND s.boot_val = 'on' AND s.reset_val = 'off')
ORDER BY s.name
"""
_FACTS = """
SELECT current_setting('server_version_num')::int AS version,
       (SELECT sum(c.relpages::bigint) * current_setting('block_size')::bigint FROM pg_catalog.pg_class c)::bigint AS data_bytes,
       (SELECT max(c.relpages::bigint) * current_setting('block_size')::bigint FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'm'))
         AS table_bytes,
       d.temp_bytes,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(d.stats_reset, pg_catalog.pg_postmaster_start_time()))::float8
         AS counted_s,
       EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_stat_statements') AS has_statements,
       pg_catalog.has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE') AS may_list_wal
FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()
"""
_CHECKPOINTS_16 = (
    "SELECT b.checkpoints_timed AS timed, b.checkpoints_req AS requested FROM pg_catalog.pg_stat_bgwriter b"
)
_CHECKPOINTS_17 = (
    "SELECT c.num_timed AS timed, c.num_requested AS requested FROM pg_catalog.pg_stat_checkpointer c"
)
_WAL = "SELECT sum(w.size)::bigint FROM pg_catalog.pg_ls_waldir() w"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that was judged. ``value`` as people read it; ``source`` says who set it (``client`` and ``session``: the monitor, for its
    own connections). ``verdict``: ok, look (it depends on what cannot be seen from here) or change; ``reason`` of the last two.
    """

    name: str
    value: str
    source: str
    pending_restart: bool
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``wal_bytes`` on disk (None: not ours to see); checkpoints since their statistics count; what was judged, in order of names."""

    version: int
    wal_bytes: int | None
    checkpoints_timed: int
    checkpoints_requested: int
    settings: tuple[Setting, ...]
    findings: tuple[Finding, ...]


async def server_settings(asked: Asked) -> ServerSettings:
    """What a tuner would change, with the reason; the thresholds are those of the rules.

    Only settings that hurt or that change the monitor's advice are judged. What a setting ought to be often depends on the machine
    (memory, disks), which the server does not tell: the verdict is "look" then, and no number is made up. A setting that this role may
    not read is left out.
    """
    row = await asked.fetchrow(_FACTS)
    checkpoints = await asked.fetchrow(_CHECKPOINTS_17 if row["version"] >= 170_000 else _CHECKPOINTS_16)
    wal = await asked.fetchval(_WAL) if row["may_list_wal"] else None
    found = {each["name"]: each for each in await asked.fetch(_SETTINGS, sorted(RULES))}
    facts = Facts(
        values={name: each["value"] for name, each in found.items()},
        memory={name: _bytes(each) for name, each in found.items()},
        data_bytes=row["data_bytes"] or 0,
        table_bytes=row["table_bytes"] or 0,
        temp_bytes_a_day=row["temp_bytes"] * 86_400 / max(86_400.0, row["counted_s"]),
        has_statements=row["has_statements"],
        timed=checkpoints["timed"],
        requested=checkpoints["requested"],
        wal_bytes=wal,
    )
    judged = [_judged(each, facts) for each in found.values()]
    findings = tuple(finding for _, finding in judged if finding is not None)
    settings = tuple(setting for setting, _ in judged)
    return ServerSettings(
        row["version"], wal, facts.timed, facts.requested, settings, (*findings, *_absent(facts))
    )


def _bytes(row: Mapping[str, Any]) -> int:
    """A setting of memory in bytes, 0 for others."""
    unit = row["unit"] or ""
    number, name = unit.rstrip("kMB") or "1", unit.lstrip("0123456789")
    scale = {"B": 1, "kB": 1024, "MB": 1024**2}.get(name)
    return int(row["value"]) * int(number) * scale if scale is not None else 0


def _shown(row: Mapping[str, Any]) -> str:
    """Nothing of settings that no rule knows: there are some that hold passwords."""
    if row["name"] not in RULES and not row["name"].startswith("enable_"):
        return "<not shown>"
    size = _bytes(row)
    for scale, unit in ((1024**3, "GB"), (1024**2, "MB"), (1024, "kB")):
        if size > 0 and size % scale == 0:
            return f"{size // scale} {unit}"
    value, unit = row["value"] or "", row["unit"]
    return f"{value} {unit}" if unit else value


def _judged(row: Mapping[str, Any], facts: Facts) -> tuple[Setting, Finding | None]:
    name, rule = row["name"], RULES.get(row["name"])
    advice = rule(facts) if rule is not None else None
    if advice is None and name.startswith("enable_") and row["value"] == "off":
        from_off = "The planner may not use this method anywhere, and every plan and advice follows"
        return _setting(row, "change", from_off), _finding(
            name, "warning", from_off, _shown(row), f"ALTER SYSTEM RESET {name};"
        )
    if row["pending_restart"]:
        reason = "The file says another value, which waits for a restart"
        return _setting(row, "look", reason), _finding(name, "warning", reason, _shown(row))
    if advice is None:
        return _setting(row, "ok", ""), None
    ddl = (advice.ddl,) if advice.ddl else ()
    finding = _finding(name, advice.severity, advice.reason, _shown(row), *ddl) if advice.severity else None
    return _setting(row, advice.verdict, advice.reason), finding


def _setting(row: Mapping[str, Any], verdict: Verdict, reason: str) -> Setting:
    return Setting(row["name"], _shown(row), row["source"], row["pending_restart"], verdict, reason)


def _finding(name: str, severity: Any, reason: str, shown: str | None, *ddl: str) -> Finding:
    return Finding(
        check="settings.value",
        severity=severity,
        subject=name,
        title=reason,
        evidence=f"{name} = {shown}",
        fix="Change it (ALTER SYSTEM, then reload; some need a restart), one setting at a time",
        ddl=ddl,
    )


def _absent(facts: Facts) -> list[Finding]:
    """Settings exist for extensions that are loaded."""
    is_loaded = "pg_stat_statements.max" in facts.values
    if is_loaded and facts.has_statements:
        return []
    return [
        Finding(
            check="settings.statements",
            severity="warning",
            subject="pg_stat_statements",
            title="The server keeps no statistics of statements" if not is_loaded else
            "The extension that shows statistics of statements is loaded and not created",
            evidence="not in shared_preload_libraries" if not is_loaded else "CREATE EXTENSION is missing in this database",
            fix="Put it into shared_preload_libraries and restart, then create the extension" if not is_loaded else "Create it",
            ddl=("CREATE EXTENSION pg_stat_statements;",),
        )
    ]  # fmt: skip
