"""What somebody should look at."""

from typing import Literal

from app.builtin.db_monitor.schemas.out import Out


class FindingOut(Out):
    """A finding: the evidence, and the fix. ``ddl`` are statements for an operator; the service runs none of them."""

    check: str
    severity: Literal["critical", "warning", "info"]
    subject: str
    title: str
    evidence: str
    fix: str
    ddl: list[str]
