"""What workers do for this feature."""

from app.core.jobs import JobRun, job
from app.core.policies import JobConfig, Security
from app.features.heavy_calc.schemas import HeavyJobInput, HeavyJobResult

WORK = JobConfig(
    rate_limit=None, timeout=300, security=Security(scopes=("run:cpu_job",), roles=("cpu_user",))
)


@job("heavy_calc", queue="cpu", attempts=3, config=WORK)
def heavy_calc(arguments: HeavyJobInput, run: JobRun) -> HeavyJobResult:
    """Calculate, in a process of the pool."""
    from app.features.heavy_calc.service import calculate  # noqa: PLC0415 - numpy is for the pool: the API never needs it

    return calculate(arguments, run.progress)
