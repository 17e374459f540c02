"""What workers do for this feature."""

from app.core.jobs import JobRun, job
from app.core.policies import Breaker, JobConfig, Security
from app.features.heavy_calc.schemas import HeavyJobInput, HeavyJobResult

LONGEST_S = 300.0
# Where most calculations fail, as on a machine without memory, the others wait: that costs them no attempt. A long one is no slow one.
MACHINE = Breaker(
    dependency="heavy_calc",
    window=60,
    min_calls=5,
    slow_after=LONGEST_S,
    open_for=30,
    open_most=300,
    probe_lease=LONGEST_S,
)
WORK = JobConfig(
    rate_limit=None,
    timeout=LONGEST_S,
    security=Security(scopes=("run:cpu_job",), roles=("cpu_user",)),
    circuit_breaker=MACHINE,
)


@job("heavy_calc", queue="cpu", attempts=3, config=WORK)
def heavy_calc(arguments: HeavyJobInput, run: JobRun) -> HeavyJobResult:
    """Calculate, in a process of the pool."""
    from app.features.heavy_calc.service import calculate  # noqa: PLC0415 - numpy is for the pool: the API never needs it

    return calculate(arguments, run.progress)
