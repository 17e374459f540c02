"""``/audit``: what was done to accounts."""

from typing import Annotated

from fastapi import Depends, Query

from app.builtin.accounts.schemas import AuditPage, AuditQuery
from app.builtin.accounts.service import ADMIN, AuditLog
from app.core import APIRouter, JobConfig, Security, api_worker, enforce_all_policies, provided
from app.core.db import AsyncSession, get_db

READ = JobConfig(security=Security(scopes=("read:audit",), roles=(ADMIN,)))

router = APIRouter(tags=["administration"])
Session = Annotated[AsyncSession, Depends(get_db)]
Log = Annotated[AuditLog, Depends(provided(AuditLog))]


@router.get("/audit", dependencies=[enforce_all_policies("audit_list", READ)])
@api_worker(READ)
async def list_audit(query: Annotated[AuditQuery, Query()], log: Log, session: Session) -> AuditPage:
    """Changes of accounts, newest first, by kind, user, who did it, and time."""
    return await log.page(session, query)
