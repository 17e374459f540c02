"""The paths of policies: for programs and for people."""

from app.builtin.policies.router.api import router as api
from app.builtin.policies.router.pages import router as pages
from app.core import APIRouter

router = APIRouter()
for part in (api, pages):
    router.include_router(part)

__all__ = ["router"]
