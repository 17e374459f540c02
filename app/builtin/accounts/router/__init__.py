"""The paths of accounts, one module a noun."""

from app.builtin.accounts.router.jwks import router as jwks
from app.builtin.accounts.router.sessions import router as sessions
from app.builtin.accounts.router.tokens import router as tokens
from app.builtin.accounts.router.users import router as users
from app.core import APIRouter

router = APIRouter()
for part in (tokens, sessions, users, jwks):
    router.include_router(part)

__all__ = ["router"]
