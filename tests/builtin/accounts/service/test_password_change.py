"""A user who knows his password chooses another one."""

import asyncio

import pytest

from app.builtin.accounts.service import (
    BadCredentials,
    BadRefreshToken,
    NotWithApiKey,
    UnfitPassword,
    WrongPassword,
)
from app.core.context import Principal
from app.core.db import get_db_context
from app.core.errors import PolicyRejected, Unavailable
from app.core.mail import MailNotSent
from app.core.security import InvalidToken
from app.core.valkey import StoreError, ValkeyClient
from tests.builtin.accounts.desks import NO_STORE, Accounts
from tests.builtin.accounts.lives import OTHER, PASSWORD, Lives


async def test_proving_a_password_makes_no_device_known(lives: Lives, store: ValkeyClient) -> None:
    """It would be one that no browser keeps, in the place of one that does."""
    user = await lives.add()
    await lives.ask_change(user, "new@example.com")
    await lives.change(user, PASSWORD, OTHER)
    assert await store.execute("KEYS", "*known_devices") == []
    await lives.signs_in(OTHER)
    assert len(await store.execute("KEYS", "*known_devices")) == 1


class TestChange:
    async def test_the_new_one_counts_and_everything_that_the_old_one_opened_is_over_at_once(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        opened = await accounts.begin(ann)
        assert not await accounts.is_revoked(opened.access)
        await lives.change(ann, PASSWORD, OTHER)
        assert await accounts.is_revoked(opened.access)
        with pytest.raises(BadRefreshToken):
            await accounts.refresh(opened.refresh_token)
        with pytest.raises(BadCredentials):
            await lives.signs_in(PASSWORD)
        await lives.signs_in(OTHER)

    async def test_it_is_told_by_mail_and_written_down_without_either_password(self, lives: Lives) -> None:
        ann = await lives.add()
        await lives.change(ann, PASSWORD, OTHER)
        await lives.settle()
        assert lives.outbox.sent() == [("password_changed", "ann@example.com")]
        assert await lives.events() == ["password.changed"]

    async def test_a_link_that_was_sent_before_is_not_good_any_more(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        await lives.reset()
        await lives.change(ann, PASSWORD, OTHER)
        assert await accounts.rows("SELECT 1 FROM email_tokens") == []

    async def test_a_mail_that_cannot_be_sent_changes_nothing(self, lives: Lives) -> None:
        ann = await lives.add()
        lives.outbox.error = MailNotSent("450")
        await lives.change(ann, PASSWORD, OTHER)
        await lives.settle()
        await lives.signs_in(OTHER)

    async def test_of_two_at_once_one_is_done(self, lives: Lives) -> None:
        ann = await lives.add()
        ends = await asyncio.gather(
            *(lives.change(ann, PASSWORD, f"{OTHER} {n}") for n in range(2)), return_exceptions=True
        )
        assert {type(end) for end in ends} == {type(None), WrongPassword}

    async def test_the_passwords_rules_hold_and_nothing_ends(self, lives: Lives, accounts: Accounts) -> None:
        ann = await lives.add()
        opened = await accounts.begin(ann)
        for unfit in ("short", "ann@example.com", "password1"):
            with pytest.raises(UnfitPassword):
                await lives.change(ann, PASSWORD, unfit)
        assert not await accounts.is_revoked(opened.access)
        assert await lives.events() == []

    async def test_without_the_store_nothing_changes(
        self, lives: Lives, accounts: Accounts, store: ValkeyClient
    ) -> None:
        ann = await lives.add()
        # It can count attempts, and cannot tell anybody that sessions have ended.
        cut_off = Lives(accounts.without_store(), store, lives.hasher)
        with pytest.raises(StoreError):
            await cut_off.change(ann, PASSWORD, OTHER)
        await lives.signs_in(PASSWORD)
        assert await lives.events() == []


class TestProof:
    async def test_a_wrong_password_is_refused_and_counted_with_the_sign_ins(self, lives: Lives) -> None:
        ann = await lives.add()
        with pytest.raises(BadCredentials):
            await lives.signs_in("wrong password")
        for _ in range(3):
            with pytest.raises(WrongPassword):
                await lives.change(ann, "wrong password", OTHER)
        with pytest.raises(PolicyRejected):
            await lives.change(ann, PASSWORD, OTHER)
        with pytest.raises(PolicyRejected):
            await lives.signs_in(PASSWORD)

    async def test_nobody_can_count_without_the_store(self, lives: Lives, accounts: Accounts) -> None:
        ann = await lives.add()
        with pytest.raises(Unavailable):
            await Lives(accounts, ValkeyClient(NO_STORE), lives.hasher).change(ann, PASSWORD, OTHER)

    async def test_an_api_key_cannot_change_the_password(self, lives: Lives, accounts: Accounts) -> None:
        ann = await lives.add()
        async with get_db_context(accounts.database) as db:
            with pytest.raises(NotWithApiKey):
                await lives.changes.change(db, Principal(str(ann.id), api_key_id="k"), PASSWORD, OTHER)

    async def test_a_disabled_user_cannot_either(self, lives: Lives, accounts: Accounts) -> None:
        ann = await lives.add()
        await accounts.write("UPDATE users SET is_active = false")
        with pytest.raises(InvalidToken):
            await lives.change(ann, PASSWORD, OTHER)
