"""What is done for the monitor's history again and again."""

from app.builtin.db_monitor.service import StatementSampler
from app.core.http import Platform
from app.core.jobs import Periodic

STATEMENTS_S, KEEP_S = 300.0, 3600.0


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """Every five minutes what statements cost since then; every hour the months that come, and those that go."""
    statements = platform.require(StatementSampler)
    return (
        Periodic(name="monitor.statements", every_s=STATEMENTS_S, work=statements.sample),
        Periodic(name="monitor.statement_partitions", every_s=KEEP_S, work=statements.keep),
    )
