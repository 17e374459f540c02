"""Whether an address is its user's, and how he gets another one."""

import asyncio

import pytest

from app.builtin.accounts.repository import EmailTaken
from app.builtin.accounts.service import BadEmailToken, EmailNotVerified, WrongPassword
from app.core.errors import PolicyRejected, Unprocessable
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from tests.builtin.accounts.desks import Accounts
from tests.builtin.accounts.lives import BASE, OTHER, PASSWORD, PER_ADDRESS, Lives

NEW = "ann@example.org"


async def addresses(accounts: Accounts) -> list[tuple[str, bool]]:
    """Each user's, and whether it is verified."""
    rows = await accounts.rows("SELECT email, email_verified_at IS NOT NULL FROM users ORDER BY email")
    return [(row[0], row[1]) for row in rows]


class TestVerify:
    async def test_the_link_verifies_the_address_once(self, lives: Lives, accounts: Accounts) -> None:
        ann = await lives.add()
        assert await addresses(accounts) == [("ann@example.com", False)]
        await lives.ask_verification(ann)
        token = lives.outbox.token()
        assert f"{BASE}/verify-email#token={token}\n" in lives.outbox.mails[0].text
        await lives.confirm_email(token)
        assert await addresses(accounts) == [("ann@example.com", True)]
        assert await lives.events() == ["email.verified"]
        with pytest.raises(BadEmailToken):
            await lives.confirm_email(token)

    async def test_who_is_verified_gets_no_mail(self, lives: Lives, accounts: Accounts) -> None:
        ann = await lives.add()
        await accounts.write("UPDATE users SET email_verified_at = now()")
        await lives.ask_verification(ann)
        assert lives.outbox.mails == []

    async def test_it_is_limited(self, lives: Lives) -> None:
        ann = await lives.add()
        for _ in range(PER_ADDRESS):
            await lives.ask_verification(ann)
        with pytest.raises(PolicyRejected):
            await lives.ask_verification(ann)

    async def test_old_replaced_foreign_and_disabled_are_refused(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        await lives.ask_verification(ann)
        replaced = lives.outbox.token()
        await lives.ask_verification(ann)
        newest, resets = lives.outbox.token(), await lives.reset()
        for token in (replaced, resets, "et_unknown"):
            with pytest.raises(BadEmailToken):
                await lives.confirm_email(token)
        await accounts.write("UPDATE users SET is_active = false")
        with pytest.raises(BadEmailToken):
            await lives.confirm_email(newest)
        await accounts.write("UPDATE users SET is_active = true")
        accounts.clock.advance(86_400)
        with pytest.raises(BadEmailToken):
            await lives.confirm_email(newest)

    async def test_a_service_may_let_in_verified_users_only(
        self, accounts: Accounts, store: ValkeyClient, hasher: PasswordHasher
    ) -> None:
        strict = Lives(accounts, store, hasher, verified_only=True)
        await strict.add()
        with pytest.raises(EmailNotVerified):
            await strict.signs_in(PASSWORD)
        await strict.confirm_reset(await strict.reset())
        await strict.signs_in(OTHER)


class TestChange:
    async def test_it_counts_when_the_new_mailbox_confirms_and_the_old_one_is_warned(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        await lives.ask_change(ann, NEW)
        assert sorted(lives.outbox.sent()) == [
            ("change_email", NEW),
            ("change_email_asked", "ann@example.com"),
        ]
        assert await addresses(accounts) == [("ann@example.com", False)]
        await lives.confirm_email(lives.outbox.token(NEW))
        assert await addresses(accounts) == [(NEW, True)]
        assert lives.outbox.sent()[-1] == ("email_changed", "ann@example.com")
        [asked, changed] = await accounts.rows("SELECT event, detail FROM audit_events ORDER BY id")
        assert asked == ("email.change_requested", {"email": NEW})
        assert changed == ("email.changed", {"former": "ann@example.com", "email": NEW})

    async def test_sessions_go_on_and_links_to_the_old_mailbox_do_not(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        opened, resets = await accounts.begin(ann), await lives.reset()
        await lives.ask_change(ann, NEW)
        await lives.confirm_email(lives.outbox.token(NEW))
        assert not await accounts.is_revoked(opened.access)
        with pytest.raises(BadEmailToken):
            await lives.confirm_reset(resets)
        await lives.signs_in(PASSWORD, NEW)

    async def test_a_stolen_token_is_not_enough(self, lives: Lives, accounts: Accounts) -> None:
        ann = await lives.add()
        with pytest.raises(WrongPassword):
            await lives.ask_change(ann, NEW, "wrong password")
        await lives.settle()
        assert (lives.outbox.mails, await lives.events()) == ([], [])

    async def test_whoever_is_warned_stops_it_with_a_new_password(self, lives: Lives) -> None:
        ann = await lives.add()
        await lives.ask_change(ann, NEW)
        token = lives.outbox.token(NEW)
        await lives.confirm_reset(await lives.reset())
        with pytest.raises(BadEmailToken):
            await lives.confirm_email(token)

    async def test_an_address_that_somebody_has_is_told_so_and_the_caller_is_not(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann, _ = await lives.add(), await lives.add(NEW)
        await lives.ask_change(ann, NEW.upper())
        assert sorted(lives.outbox.sent()) == [
            ("change_email_asked", "ann@example.com"),
            ("has_account", NEW),
        ]
        assert await accounts.rows("SELECT 1 FROM email_tokens") == []

    async def test_an_address_that_somebody_got_meanwhile_is_a_conflict_and_nothing_changes(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        await lives.ask_change(ann, NEW)
        await lives.add(NEW.upper())
        with pytest.raises(EmailTaken):
            await lives.confirm_email(lives.outbox.token(NEW))
        assert await addresses(accounts) == [("ANN@EXAMPLE.ORG", False), ("ann@example.com", False)]

    async def test_of_many_at_once_one_is_done(self, lives: Lives) -> None:
        ann = await lives.add()
        await lives.ask_change(ann, NEW)
        token = lives.outbox.token(NEW)
        ends = await asyncio.gather(*(lives.confirm_email(token) for _ in range(5)), return_exceptions=True)
        assert sorted(repr(end) for end in ends).count("None") == 1
        assert {type(end) for end in ends} == {type(None), BadEmailToken}

    @pytest.mark.parametrize(
        "email",
        [
            "",
            "ann",
            "a@b@c",
            "a@example.com\r\nBcc: eve@example.com",
            "a@example.com,eve@example.com",
            "A <a@b.c>",
        ],
    )
    async def test_what_is_no_single_address_is_refused(self, lives: Lives, email: str) -> None:
        ann = await lives.add()
        with pytest.raises(Unprocessable):
            await lives.ask_change(ann, email)
