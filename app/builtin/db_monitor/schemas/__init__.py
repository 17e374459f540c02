"""What the paths of the monitor take and give."""

from app.builtin.db_monitor.schemas.findings import FindingOut

__all__ = ["FindingOut"]
