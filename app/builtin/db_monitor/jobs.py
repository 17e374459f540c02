"""What is done for the monitor again and again."""

from app.builtin.db_monitor.service import TableSampling
from app.core.http import Platform
from app.core.jobs import Periodic

SAMPLE_S = 300.0


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """Every five minutes one process stores what has changed."""
    return (
        Periodic(name="monitor.table_samples", every_s=SAMPLE_S, work=platform.require(TableSampling).take),
    )
