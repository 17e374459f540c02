"""The audit log: who did it, and that nobody changes what is written."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from app.builtin.accounts.schemas import AuditQuery
from app.builtin.accounts.service import AuditLog, BadRefreshToken
from app.core.context import Principal, RequestContext, reset_context, set_context
from app.core.db import get_db_context
from tests.builtin.accounts.desks import LIFETIMES, START, Accounts

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

    @pytest.mark.parametrize(
        "change", ["UPDATE audit_events SET event = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"]
    )
    async def test_what_is_written_cannot_be_changed(self, accounts: Accounts, change: str) -> None:
        async with get_db_context(accounts.database) as db:
            await AuditLog(accounts.clock).record(db, "roles.granted", SUBJECT)
        with pytest.raises(IntegrityError, match="append-only"):
            await accounts.write(change)

    async def test_a_stolen_refresh_token_is_recorded_although_the_answer_is_a_refusal(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        await accounts.refresh(opened.refresh_token)
        accounts.clock.advance(LIFETIMES.grace_s + 1)
        with pytest.raises(BadRefreshToken):
            await accounts.refresh(opened.refresh_token)
        [(event, subject, detail)] = await accounts.rows("SELECT event, subject_id, detail FROM audit_events")
        session = accounts.tokens.verify(opened.access.token).session_id
        assert (event, subject, detail) == ("session.reuse_detected", user.id, {"session": session})


class TestPage:
    async def test_it_is_read_newest_first_page_by_page_and_by_every_condition(
        self, accounts: Accounts
    ) -> None:
        nobody = RequestContext()
        boss = RequestContext(request_id="r-1", principal=Principal("boss"))
        async with get_db_context(accounts.database) as db:
            for number, (event, context) in enumerate((
                ("user.created", nobody), ("rights.granted", boss), ("rights.revoked", boss), ("rights.granted", nobody),
            )):  # fmt: skip
                before = set_context(context)
                await accounts.audit.record(db, event, UUID(int=number % 2), number=number)
                reset_context(before)
                accounts.clock.advance(10)

        async def found(**query: Any) -> tuple[list[int], UUID | None]:
            async with get_db_context(accounts.database) as db:
                page = await accounts.audit.page(db, AuditQuery(**query))
            return [event.detail["number"] for event in page.items], page.next_cursor

        numbers, cursor = await found(limit=3)
        assert (numbers, await found(limit=3, cursor=cursor)) == ([3, 2, 1], ([0], None))
        at = datetime.fromtimestamp(START, UTC)
        for query, expected in (
            ({}, [3, 2, 1, 0]), ({"event": "rights.granted"}, [3, 1]), ({"subject": UUID(int=0)}, [2, 0]), ({"actor": "boss"}, [2, 1]),
            ({"since": at + timedelta(seconds=10)}, [3, 2, 1]), ({"until": at + timedelta(seconds=10)}, [0]),
            ({"actor": "boss", "event": "rights.granted"}, [1]), ({"actor": "nobody"}, []),
        ):  # fmt: skip
            assert await found(**query) == (expected, None)
