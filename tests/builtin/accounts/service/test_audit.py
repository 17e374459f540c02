"""The audit log: who did it, and that nobody changes what is written."""

from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from app.builtin.accounts.service import AuditLog
from app.core.context import Principal, RequestContext, reset_context, set_context
from app.core.db import get_db_context
from tests.builtin.accounts.desks import START, Accounts

SUBJECT = UUID(int=7)


class TestRecord:
    @pytest.mark.parametrize(
        ("context", "kind", "actor"),
        [
            (RequestContext(request_id="r-1", principal=Principal("u-1")), "user", "u-1"),
            (RequestContext(request_id="r-1", principal=Principal("u-1", api_key_id="k-1")), "user", "u-1"),
            (RequestContext(request_id="r-1"), "anonymous", None),
            (RequestContext(), "operator", None),
        ],
        ids=["a caller", "an API key", "nobody signed in", "outside a request"],
    )
    async def test_who_did_it_follows_from_the_context(
        self, accounts: Accounts, context: RequestContext, kind: str, actor: str | None
    ) -> None:
        before = set_context(context)
        try:
            async with get_db_context(accounts.database) as db:
                await AuditLog(accounts.clock).record(db, "roles.granted", SUBJECT, roles=["admin"])
        finally:
            reset_context(before)
        [row] = await accounts.rows(
            "SELECT event, actor_kind, actor_id, subject_id, request_id, detail,"
            " CAST(extract(epoch FROM at) AS float) FROM audit_events"
        )
        by_key = {"by_api_key": "k-1"} if context.principal and context.principal.api_key_id else {}
        detail = {"roles": ["admin"], **by_key}
        assert row == ("roles.granted", kind, actor, SUBJECT, context.request_id, detail, START)

    @pytest.mark.parametrize("change", ["UPDATE audit_events SET event = 'x'", "DELETE FROM audit_events"])
    async def test_what_is_written_cannot_be_changed(self, accounts: Accounts, change: str) -> None:
        async with get_db_context(accounts.database) as db:
            await AuditLog(accounts.clock).record(db, "roles.granted", SUBJECT)
        with pytest.raises(IntegrityError, match="append-only"):
            await accounts.write(change)
