"""The paths of accounts, one module a noun."""

from app.builtin.accounts.router.administration import router as administration
from app.builtin.accounts.router.api_keys import router as api_keys
from app.builtin.accounts.router.audit import router as audit
from app.builtin.accounts.router.email import router as email
from app.builtin.accounts.router.jwks import router as jwks
from app.builtin.accounts.router.mfa import router as mfa
from app.builtin.accounts.router.passwords import router as passwords
from app.builtin.accounts.router.registration import router as registration
from app.builtin.accounts.router.sessions import router as sessions
from app.builtin.accounts.router.tokens import router as tokens
from app.builtin.accounts.router.users import router as users
from app.core import APIRouter

router = APIRouter()
for part in (
    tokens, mfa, sessions, users, passwords, email, registration, api_keys, administration, audit, jwks,
):  # fmt: skip
    router.include_router(part)

__all__ = ["router"]
