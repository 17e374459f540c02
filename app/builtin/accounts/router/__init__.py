"""The paths of accounts, one module a noun."""

from app.builtin.accounts.router.administration import router as administration
from app.builtin.accounts.router.audit import router as audit
from app.builtin.accounts.router.sessions import router as sessions
from app.builtin.accounts.router.tokens import router as tokens
from app.builtin.accounts.router.users import router as users
from app.core import APIRouter

router = APIRouter()
for part in (tokens, sessions, users, administration, audit):
    router.include_router(part)

__all__ = ["router"]
