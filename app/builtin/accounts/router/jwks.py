"""``/.well-known/jwks.json``: the public keys by which anybody can verify our tokens."""

from typing import Annotated

from fastapi import Depends, Response
from fastapi.responses import JSONResponse

from app.builtin.accounts.schemas import KeySetOut
from app.core import APIRouter, JobConfig, RateLimit, api_worker, enforce_all_policies, provided
from app.core.security import TokenService

router = APIRouter(tags=["accounts"])

# Read by services, often many behind one address, and kept by them: see the header below.
KEYS = JobConfig.public(rate_limit=RateLimit.fixed_window("ip", limit=120, window=60, scope="ip"))
MAX_AGE_S = 300


class KeySetResponse(JSONResponse):
    """RFC 7517 section 8.5.2."""

    media_type = "application/jwk-set+json"


@router.get(
    "/.well-known/jwks.json",
    response_class=KeySetResponse,
    response_model_exclude_none=True,
    dependencies=[enforce_all_policies("jwks", KEYS)],
)
@api_worker(KEYS)
async def read_keys(
    tokens: Annotated[TokenService, Depends(provided(TokenService))], response: Response
) -> KeySetOut:
    """The keys that verify our tokens, those that are about to sign included (RFC 7517).

    Empty while tokens are signed with a secret (HS256). May be kept for the time that `Cache-Control` says: a new key is here
    longer than that before it signs.
    """
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}"
    return KeySetOut.model_validate({"keys": tokens.published()})
