"""More rights than an access token carries: refused where they are given, and answered clearly where they are there already."""

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.builtin.accounts.models import User
from app.builtin.accounts.service import Administration, AuditLog, RightsDoNotFit, create_user
from app.core.db import get_db_context
from app.core.errors import Unprocessable
from app.core.security import PasswordHasher, known_roles, known_scopes
from app.core.security._scopes import _roles, _scopes
from tests.builtin.accounts.desks import Accounts

PASSWORD = "correct horse battery staple"
EMAIL = "ann@example.com"
LONG = [f"long:{number:058}" for number in range(64)]


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a service had registered them before there was a bound."""
    for number in range(65):
        monkeypatch.setitem(_roles, f"role:{number}", "one of many")
        monkeypatch.setitem(_scopes, f"scope:{number}", "one of many")
    for name in LONG:
        monkeypatch.setitem(_scopes, name, "a long name")


@pytest.mark.usefixtures("many")
class TestGiving:
    @pytest.mark.parametrize(
        ("roles", "scopes", "message"),
        [
            ([f"role:{n}" for n in range(65)], [], "64 roles"),
            ([], [f"scope:{n}" for n in range(65)], "64 scopes"),
            (["role:1"], LONG, "4000 characters"),
        ],
    )
    async def test_too_much_at_once_is_refused(
        self,
        db_session: AsyncSession,
        hasher: PasswordHasher,
        roles: list[str],
        scopes: list[str],
        message: str,
    ) -> None:
        with pytest.raises(Unprocessable, match=message):
            await create_user(db_session, hasher, EMAIL, PASSWORD, roles=roles, scopes=scopes)

    async def test_too_much_in_all_is_refused_and_nothing_is_given(
        self, accounts: Accounts, hasher: PasswordHasher
    ) -> None:
        user = await accounts.add_user()
        have = [f"role:{n}" for n in range(64)]
        await accounts.write("UPDATE users SET roles = :roles", roles=have)
        desk = Administration(accounts.revocation, hasher, AuditLog(accounts.clock))
        async with get_db_context(accounts.database) as db:
            await desk.give(db, user.id, roles=have[:5], by=None)
        with pytest.raises(Unprocessable, match="64 roles"):
            async with get_db_context(accounts.database) as db:
                await desk.give(db, user.id, roles=["role:64"], by=None)
        assert await accounts.rows("SELECT roles FROM users") == [(have,)]


class TestHaving:
    @pytest.mark.parametrize(
        "roles", [[f"role:{n}" for n in range(65)], [f"{'r' * 60}{n}" for n in range(100)], ["Not A Role"]]
    )
    async def test_a_row_with_too_much_is_a_409_at_sign_in_and_refresh_and_nothing_is_begun(
        self, accounts: Accounts, roles: list[str]
    ) -> None:
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        (before,) = await accounts.rows("SELECT count(*), count(used_at) FROM refresh_tokens")
        await accounts.write("UPDATE users SET roles = :roles", roles=roles)
        user.roles = roles
        with capture_logs() as logs:
            for attempt in (accounts.begin(user), accounts.refresh(opened.refresh_token)):
                with pytest.raises(RightsDoNotFit, match="administrator") as refused:
                    await attempt
                assert refused.value.status == 409
        assert [line["event"] for line in logs] == ["session.rights_do_not_fit"] * 2
        assert await accounts.rows("SELECT count(*), count(used_at) FROM refresh_tokens") == [before]
        await accounts.write("UPDATE users SET roles = '{db_reader}'")
        assert (await accounts.refresh(opened.refresh_token)).access.claims["roles"] == ["db_reader"]

    async def test_all_that_is_known_fits(self, accounts: Accounts) -> None:
        user = User(email=EMAIL, password_hash="!", roles=sorted(known_roles), scopes=sorted(known_scopes))
        async with accounts.unkept() as db:
            db.add(user)
            await db.flush()
            opened = await accounts.sessions.begin(db, user, user.scopes)
        assert accounts.tokens.verify(opened.access.token).scopes == known_scopes.keys()
