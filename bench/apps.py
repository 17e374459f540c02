"""The applications that are compared: the same handler bare, gated, and guarded by one dependency per policy."""

import os
import time
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter as FastAPIRouter
from fastapi import Depends, FastAPI, HTTPException, Request
from jose import jwt
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel
from valkey.asyncio import Valkey

from app.core import APIRouter, JobConfig, RateLimit, Security, api_worker, enforce_all_policies
from app.core.context import Principal
from app.core.http import TokenVerifier
from app.core.policies import Concurrency, Credits, Quota, ResponseCache
from app.core.resilience import SystemClock
from app.core.security import TokenKey, TokenService
from app.main import create_app
from app.registry import FEATURES, Feature
from app.settings import Settings

SECRET = "bench-secret-that-is-long-enough-to-sign"  # a benchmark's, worth nothing
PLENTY = 1_000_000


class Record(BaseModel):
    id: int
    name: str
    tags: list[str]


def record(record_id: int) -> Record:
    return Record(id=record_id, name="a record", tags=["one", "two"])


def bare() -> FastAPI:
    """FastAPI as it comes."""
    app = FastAPI()

    @app.get("/records/{record_id}")
    async def read(record_id: int) -> Record:
        return record(record_id)

    return app


def included() -> FastAPI:
    """FastAPI as it comes, with the route on a router that is included, as every project of more than one file has it."""
    app, router = FastAPI(), FastAPIRouter()

    @router.get("/records/{record_id}")
    async def read(record_id: int) -> Record:
        return record(record_id)

    app.include_router(router)
    return app


def token_service() -> TokenService:
    return TokenService([TokenKey.from_secret(SECRET)], issuer="bench", audience="bench", clock=SystemClock())


def gated() -> FastAPI:
    """Token, scope, a limit per user and one per IP, metrics, access log."""
    return _service(GATED, ())


def everything() -> FastAPI:
    """The same with quota, credits, a concurrency slot and a response cache, on the ledger that the service has."""
    credit = next(feature for feature in FEATURES if feature.name == "credits")
    return _service(
        replace(
            GATED,
            quota=Quota(per="day", limit=PLENTY),
            credits=Credits(cost=1, settle="batched"),
            concurrency=Concurrency(max=1000),
            cache=ResponseCache(ttl=300),
        ),
        (replace(credit, router=None),),
    )


GATED = JobConfig(
    security=Security(scopes=("read:records",)),
    rate_limit=(
        RateLimit.token_bucket("user", max_tokens=PLENTY, refill_rate=PLENTY),
        RateLimit.fixed_window("ip", limit=100 * PLENTY, window=60, scope="ip"),
    ),
)


def _service(config: JobConfig, features: tuple[Feature, ...]) -> FastAPI:
    router = APIRouter()

    @router.get("/records/{record_id}", dependencies=[enforce_all_policies("records_get", config)])
    @api_worker(config)
    async def read(record_id: int) -> Record:
        return record(record_id)

    def provides(*_: Any) -> dict[type[Any], Any]:
        return {TokenVerifier: token_service()}

    settings = Settings(
        _env_file=None,
        app_env="test",
        database_url=os.environ["BENCH_DATABASE_URL"],
        valkey_url=os.environ["BENCH_VALKEY_URL"],
        valkey_timeout_ms=1000,
    )
    return create_app(
        settings, registry=[Feature(name="records", router=router, provides=provides), *features]
    )


_BUCKET = """
local tat = math.max(tonumber(redis.call('GET', KEYS[1])) or 0, tonumber(ARGV[1]))
redis.call('SET', KEYS[1], tat + 1, 'PX', 1000)
return tat
"""


def separate() -> FastAPI:
    """The same policies put together by hand: a dependency each to decode, for the scope, and for each limit with one plain Valkey
    call; the instrumentator's middleware for metrics; uvicorn's access log.
    """
    app = FastAPI()
    app.state.wants_access_log = True
    Instrumentator().instrument(app)
    valkey = Valkey.from_url(os.environ["BENCH_VALKEY_URL"])
    script = valkey.register_script(_BUCKET)

    async def principal(request: Request) -> Principal:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="bench", issuer="bench")
        return Principal(claims["sub"], frozenset(claims["scope"].split()))

    async def scope(caller: Annotated[Principal, Depends(principal)]) -> Principal:
        if "read:records" not in caller.scopes:
            raise HTTPException(403)
        return caller

    async def user_limit(caller: Annotated[Principal, Depends(scope)]) -> None:
        await script(keys=[f"user:{caller.id}"], args=[time.time()])

    async def ip_limit(request: Request) -> None:
        await script(keys=[f"ip:{request.client.host if request.client else ''}"], args=[time.time()])

    @app.get("/records/{record_id}", dependencies=[Depends(user_limit), Depends(ip_limit)])
    async def read(record_id: int) -> Record:
        return record(record_id)

    return app
