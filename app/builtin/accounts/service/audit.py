"""The audit log: who did what to an account, when, in which request."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.builtin.accounts.models import AuditEvent
from app.builtin.accounts.repository import AuditRepository
from app.builtin.accounts.schemas import AuditOut, AuditPage, AuditQuery
from app.core.context import RequestContext, current_context
from app.core.db import AsyncSession
from app.core.resilience import Clock


class AuditLog:
    """Records changes in the transaction that makes them: what was not committed was not done, and is not told. Reads them by page."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def record(self, db: AsyncSession, event: str, subject: UUID | None, **detail: Any) -> None:
        """Write down that ``event`` (``noun.what_happened``) was done to the user ``subject`` by the caller of this request.

        Outside a request it was an operator; in one without a caller, somebody anonymous. ``detail`` is JSON, and holds no
        secrets; an API key that the caller came with is added to it.
        """
        context = current_context()
        caller = context.principal
        if caller is not None and caller.api_key_id is not None:
            detail["by_api_key"] = caller.api_key_id
        await AuditRepository(db).add(
            AuditEvent(
                at=datetime.fromtimestamp(self._clock.time(), UTC),
                event=event,
                actor_kind=_kind(context),
                actor_id=caller.id if caller is not None else None,
                subject_id=subject,
                request_id=context.request_id,
                detail=detail,
            )
        )

    async def page(self, db: AsyncSession, query: AuditQuery) -> AuditPage:
        """What was recorded, newest first."""
        found = await AuditRepository(db).page(
            event=query.event,
            subject=query.subject,
            actor=query.actor,
            since=query.since,
            until=query.until,
            before=query.cursor,
            most=query.limit + 1,
        )
        items, more = found[: query.limit], len(found) > query.limit
        return AuditPage(
            items=[AuditOut.model_validate(event, from_attributes=True) for event in items],
            next_cursor=items[-1].id if more else None,
        )


def _kind(context: RequestContext) -> str:
    if context.principal is not None:
        return "user"
    return "operator" if context.request_id is None else "anonymous"
