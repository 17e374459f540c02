"""Maintenance: three questions that fail alone."""

from typing import Any

from app.builtin.db_monitor.schemas.maintenance import (
    DatabaseAgeOut,
    HolderOut,
    MaintenanceOut,
    RunningVacuumOut,
    SequenceOut,
    TableAgeOut,
    TableCareOut,
)
from app.builtin.db_monitor.service.parts import findings_of, require_any, unavailable
from app.core.monitor import MonitorServer, Panel, autovacuum, panel, sequences, wraparound


async def look_after(server: MonitorServer) -> MaintenanceOut:
    """One after the other, so that they take one of the monitor's connections. Raises MonitorError (503) when none has an answer."""
    ages = await panel("wraparound", lambda: server.put(wraparound))
    care = await panel("autovacuum", lambda: server.put(autovacuum))
    ends = await panel("sequences", lambda: server.put(sequences))
    parts: dict[str, Panel[Any]] = {"wraparound": ages, "autovacuum": care, "sequences": ends}
    require_any(parts)
    return MaintenanceOut(
        databases=DatabaseAgeOut.all_of(ages.value.databases) if ages.value else [],
        tables=TableAgeOut.all_of(ages.value.tables) if ages.value else [],
        holders=HolderOut.all_of(ages.value.holders) if ages.value else [],
        autovacuum_is_on=care.value.is_on if care.value else None,
        autovacuum_workers=care.value.workers if care.value else None,
        autovacuum_busy=care.value.busy if care.value else None,
        stats_reset=care.value.stats_reset if care.value else None,
        care=TableCareOut.all_of(care.value.tables) if care.value else [],
        running=RunningVacuumOut.all_of(care.value.running) if care.value else [],
        sequences_total=ends.value.total if ends.value else None,
        sequences_locked=ends.value.locked if ends.value else None,
        sequences_denied=ends.value.denied if ends.value else None,
        sequences=SequenceOut.all_of(ends.value.sequences) if ends.value else [],
        unavailable=unavailable(parts),
        findings=findings_of(parts),
    )
