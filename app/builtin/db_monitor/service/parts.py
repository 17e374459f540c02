"""Pages of parts that fail alone."""

from collections.abc import Mapping
from typing import Any

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.core.monitor import MonitorError, Panel, ranked


def unavailable(parts: Mapping[str, Panel[Any]]) -> dict[str, str]:
    """Why parts have no answer, by name."""
    return {name: part.reason for name, part in parts.items() if part.reason is not None}


def findings_of(parts: Mapping[str, Panel[Any]]) -> list[FindingOut]:
    """Those of all parts, the worst first."""
    found = [finding for part in parts.values() if part.value is not None for finding in part.value.findings]
    return FindingOut.all_of(ranked(found))


def require_any(parts: Mapping[str, Panel[Any]]) -> None:
    """Raises MonitorError (503) when no part has an answer: a page without any would look like a server without faults."""
    if all(part.value is None for part in parts.values()):
        raise MonitorError(next(iter(parts.values())).reason)
