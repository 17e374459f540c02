from app.features.heavy_calc.jobs import heavy_calc
from app.features.heavy_calc.schemas import HeavyJobInput
from app.registry import FEATURES


def test_it_is_declared_for_those_who_may_use_the_processor() -> None:
    assert heavy_calc in [job for feature in FEATURES for job in feature.jobs]
    assert heavy_calc.in_process
    assert heavy_calc.arguments is HeavyJobInput
    security = heavy_calc.options.config.security
    assert security is not None
    assert (security.scopes, security.roles) == (("run:cpu_job",), ("cpu_user",))
    assert (heavy_calc.options.queue, heavy_calc.options.attempts) == ("cpu", 3)


def test_calculations_that_fail_hold_the_others_back_and_long_ones_do_not() -> None:
    config = heavy_calc.options.config
    assert config.timeout is not None
    (breaker,) = config.breakers
    assert breaker.slow_after >= config.timeout
    assert breaker.probe_lease >= config.timeout
