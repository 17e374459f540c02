"""What an endpoint settles its requests with."""

from typing import NamedTuple

from app.core.http._cached_answers import CachedAnswers
from app.core.http._results import Results
from app.core.http._traffic import TrafficControl
from app.core.policies import Admitter, CreditLedger, HoldBook, JobConfig, Renewals


class Keeper(NamedTuple):
    """One per gate."""

    policy: str
    config: JobConfig
    admitter: Admitter
    ledger: CreditLedger | None
    holds: HoldBook | None
    cached: CachedAnswers | None
    results: Results
    renewals: Renewals
    traffic: TrafficControl
