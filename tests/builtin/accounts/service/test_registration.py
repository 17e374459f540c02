"""People who make an account for themselves."""

import asyncio
from typing import Any

import pytest

from app.builtin.accounts.repository import EmailTaken
from app.builtin.accounts.service import BadEmailToken, MailIsOff, RegistrationIsOff, UnfitPassword
from app.core.db import Database
from app.core.errors import ConfigurationError, PolicyRejected, Unprocessable
from app.core.security import PasswordHasher, known_roles
from app.core.valkey import ValkeyClient
from tests.builtin.accounts.desks import Accounts
from tests.builtin.accounts.lives import BASE, OTHER, PER_ADDRESS, Lives, for_ever
from tests.builtin.accounts.service.test_password_reset import NO_DATABASE

NEW = "new@example.com"


class TestRegister:
    async def test_there_is_an_account_when_the_mailbox_confirms_and_not_before(
        self, accounts: Accounts, store: ValkeyClient, hasher: PasswordHasher
    ) -> None:
        role = min(known_roles)
        lives = Lives(accounts, store, hasher, roles=[role], scopes=["read:records"])
        token = await lives.register("New@Example.com")
        assert f"{BASE}/register#token={token}\n" in lives.outbox.mails[0].text
        assert await accounts.rows("SELECT 1 FROM users") == []
        await lives.confirm_registration(token)
        [row] = await accounts.rows("SELECT email, roles, scopes, is_active, email_verified_at FROM users")
        assert row == ("New@Example.com", [role], ["read:records"], True, accounts.now())
        assert await lives.events() == ["user.registered"]
        await lives.signs_in(OTHER, NEW)

    async def test_who_has_an_account_is_told_by_mail_alone(self, lives: Lives, accounts: Accounts) -> None:
        await lives.add(NEW)
        await lives.registration.request(NEW.upper())
        await lives.postman.idle()
        assert lives.outbox.sent() == [("has_account", NEW)]
        assert "token=" not in lives.outbox.mails[0].text
        assert await accounts.rows("SELECT 1 FROM email_tokens") == []

    async def test_a_disabled_user_gets_nothing(self, lives: Lives, accounts: Accounts) -> None:
        await lives.add(NEW)
        await accounts.write("UPDATE users SET is_active = false")
        await lives.registration.request(NEW)
        await lives.postman.idle()
        assert lives.outbox.mails == []

    async def test_whether_there_is_a_user_is_asked_after_the_answer_and_the_same_is_queued(
        self, lives: Lives, accounts: Accounts, store: ValkeyClient
    ) -> None:
        await lives.add(NEW)
        blind = Lives(accounts, store, lives.hasher, database=Database(NO_DATABASE), pause=for_ever)
        queued = []
        for email in (NEW, "nobody@example.com"):
            await blind.registration.request(email)
            queued.append(len(blind.postman._under_way))
        assert queued == [1, 2]
        await blind.postman.close(limit_s=0)

    async def test_it_is_limited_and_using_that_up_keeps_no_reset_from_being_sent(self, lives: Lives) -> None:
        await lives.add(NEW)
        for _ in range(PER_ADDRESS):
            await lives.registration.request(NEW)
        with pytest.raises(PolicyRejected):
            await lives.registration.request(NEW)
        await lives.confirm_reset(await lives.reset(NEW))

    @pytest.mark.parametrize("email", ["", "new", "a@example.com\r\nBcc: eve@example.com", "a@b.c,d@e.f"])
    async def test_what_is_no_single_address_is_refused(self, lives: Lives, email: str) -> None:
        with pytest.raises(Unprocessable):
            await lives.registration.request(email)


class TestConfirm:
    async def test_of_many_at_once_one_is_done(self, lives: Lives, accounts: Accounts) -> None:
        token = await lives.register()
        ends = await asyncio.gather(
            *(lives.confirm_registration(token) for _ in range(5)), return_exceptions=True
        )
        assert [type(end) for end in ends].count(type(None)) == 1
        assert {type(end) for end in ends} == {type(None), BadEmailToken}
        assert len(await accounts.rows("SELECT 1 FROM users")) == 1

    async def test_an_older_link_an_old_one_and_one_for_something_else_are_refused(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        await lives.add()
        replaced, newest, resets = await lives.register(), await lives.register(), await lives.reset()
        accounts.clock.advance(1799)
        for token in (replaced, resets, "et_unknown"):
            with pytest.raises(BadEmailToken):
                await lives.confirm_registration(token)
        accounts.clock.advance(86_400)
        with pytest.raises(BadEmailToken):
            await lives.confirm_registration(newest)

    async def test_an_unfit_password_leaves_the_link_good(self, lives: Lives) -> None:
        token = await lives.register()
        with pytest.raises(UnfitPassword):
            await lives.confirm_registration(token, NEW)
        await lives.confirm_registration(token)

    async def test_an_address_that_got_an_account_meanwhile_is_a_conflict(self, lives: Lives) -> None:
        token = await lives.register()
        await lives.add(NEW)
        with pytest.raises(EmailTaken):
            await lives.confirm_registration(token)


class TestOff:
    async def test_switched_off_there_is_no_such_thing(
        self, accounts: Accounts, store: ValkeyClient, hasher: PasswordHasher, lives: Lives
    ) -> None:
        token = await lives.register()
        off = Lives(accounts, store, hasher, enabled=False)
        with pytest.raises(RegistrationIsOff):
            await off.registration.request(NEW)
        with pytest.raises(RegistrationIsOff):
            await off.confirm_registration(token)
        with pytest.raises(MailIsOff):
            await Lives(accounts, store, hasher, has_mail=False).registration.request(NEW)

    @pytest.mark.parametrize("wrong", [{"roles": ["emperor"]}, {"scopes": ["read:everything"]}])
    async def test_unknown_rights_stop_the_start(
        self, accounts: Accounts, store: ValkeyClient, hasher: PasswordHasher, wrong: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigurationError, match=r"unknown: (emperor|read:everything)"):
            Lives(accounts, store, hasher, **wrong)
