"""``/external-data``: what another service knows."""

from typing import Annotated, Any

from fastapi import Depends, Query

from app.core import APIRouter, JobConfig, RateLimit, Security, api_worker, enforce_all_policies, provided
from app.core.policies import Breaker, ResponseCache, Retry
from app.features.external_data.schemas import ExternalData, ExternalQuery
from app.features.external_data.service import ExternalSearch, FailedUpstream, is_failure

SEARCH = JobConfig(
    security=Security(scopes=("read:external",), roles=("io_user",)),
    rate_limit=RateLimit.token_bucket("user", max_tokens=5, refill_rate=1),
    retry=Retry(retry_safe=True, attempts=3, attempt_timeout=1.5, exceptions=(FailedUpstream,)),
    circuit_breaker=Breaker(dependency="external_data", records=is_failure),
    cache=ResponseCache(ttl=60, stale=600),
    timeout=5.0,
)

FAILURES: dict[int | str, Any] = {
    502: {"description": "The source of the data failed or answered something else"},
    503: {"description": "The source of the data is busy, failing or not configured"},
    504: {"description": "The source of the data did not answer in time"},
}

router = APIRouter(prefix="/external-data", tags=["external data"])


@router.get("", responses=FAILURES, dependencies=[enforce_all_policies("external_data", SEARCH)])
@api_worker(SEARCH)
async def fetch_external_data(
    asked: Annotated[ExternalQuery, Query()],
    source: Annotated[ExternalSearch, Depends(provided(ExternalSearch))],
) -> ExternalData:
    """Search in another service. A failing one is tried three times, then left alone for a while; the last answer serves meanwhile."""
    return await source.search(asked.query)
