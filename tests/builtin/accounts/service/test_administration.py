import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import EmailTaken, UserRepository
from app.builtin.accounts.service import DEVELOPMENT_USERS, create_user, seed_development
from app.core.errors import Unprocessable
from app.core.security import PasswordHasher, known_roles, known_scopes

PASSWORD = "correct horse battery staple"
CREDENTIALS = {email: f"password-of-{email}" for email in DEVELOPMENT_USERS}


class TestCreateUser:
    async def test_the_user_can_sign_in_and_has_what_was_given(
        self, db_session: AsyncSession, hasher: PasswordHasher
    ) -> None:
        user = await create_user(
            db_session,
            hasher,
            " Ann@Example.com ",
            PASSWORD,
            roles=["admin", "admin"],
            scopes={"write:records"},
        )
        assert user.email == "Ann@Example.com"
        assert hasher.verify(PASSWORD, user.password_hash)
        assert (user.roles, user.scopes) == (["admin"], ["write:records"])

    async def test_a_second_user_with_the_same_address_is_refused(
        self, db_session: AsyncSession, hasher: PasswordHasher
    ) -> None:
        await create_user(db_session, hasher, "ann@example.com", PASSWORD)
        with pytest.raises(EmailTaken):
            await create_user(db_session, hasher, "ANN@example.com", PASSWORD)

    @pytest.mark.parametrize(
        "email",
        [
            "",
            "ann",
            "ann@",
            "@example.com",
            "a b@example.com",
            "ann@example.com\0",
            "a@b@c",
            "ann@printer.local",
            "x" * 250 + "@example.com",
        ],
    )
    async def test_text_that_is_no_address_is_refused(
        self, db_session: AsyncSession, hasher: PasswordHasher, email: str
    ) -> None:
        with pytest.raises(Unprocessable, match="e-mail"):
            await create_user(db_session, hasher, email, PASSWORD)

    @pytest.mark.parametrize("email", ["ann@intranet", "ann@exämple.com", "Ännchen@example.com"])
    async def test_an_address_of_an_internal_or_foreign_name_is_taken(
        self, db_session: AsyncSession, hasher: PasswordHasher, email: str
    ) -> None:
        assert (await create_user(db_session, hasher, email, PASSWORD)).email == email

    @pytest.mark.parametrize("password", ["", "x" * 7, "x" * 129, "\ud800" * 10, "Password1"])
    async def test_a_password_that_breaks_a_rule_is_refused(
        self, db_session: AsyncSession, hasher: PasswordHasher, password: str
    ) -> None:
        with pytest.raises(Unprocessable, match="password"):
            await create_user(db_session, hasher, "ann@example.com", password)

    @pytest.mark.parametrize("password", ["vb%7qP.z", "x" * 128, "ü" * 128])
    async def test_a_password_of_8_to_128_characters_is_taken(
        self, db_session: AsyncSession, hasher: PasswordHasher, password: str
    ) -> None:
        user = await create_user(db_session, hasher, "ann@example.com", password)
        assert hasher.verify(password, user.password_hash)

    async def test_an_unknown_role_or_scope_is_refused_by_name(
        self, db_session: AsyncSession, hasher: PasswordHasher
    ) -> None:
        with pytest.raises(Unprocessable, match="'root'"):
            await create_user(db_session, hasher, "ann@example.com", PASSWORD, roles=["root"])
        with pytest.raises(Unprocessable, match="'read:record'"):
            await create_user(db_session, hasher, "ann@example.com", PASSWORD, scopes=["read:record"])
        assert await db_session.scalar(text("SELECT count(*) FROM users")) == 0


class TestSeedDevelopment:
    async def _users(self, session: AsyncSession) -> dict[str, User]:
        users = UserRepository(session)
        found = {email: await users.get_by_email(email) for email in DEVELOPMENT_USERS}
        return {email: user for email, user in found.items() if user is not None}

    async def test_the_documented_users_are_made(
        self, db_session: AsyncSession, hasher: PasswordHasher
    ) -> None:
        changed = await seed_development(db_session, hasher, CREDENTIALS)
        users = await self._users(db_session)
        assert changed == list(CREDENTIALS) == list(users)
        admin, analyst, viewer = users.values()
        assert (admin.roles, admin.scopes) == (sorted(known_roles), sorted(known_scopes))
        assert (analyst.email, analyst.roles, analyst.scopes) == (
            "analyst@example.com",
            ["db_reader", "io_user"],
            ["read:credits", "read:external", "read:records"],
        )
        assert (viewer.email, viewer.roles, viewer.scopes) == ("viewer@example.com", [], [])
        assert all(hasher.verify(CREDENTIALS[email], user.password_hash) for email, user in users.items())

    async def test_a_second_run_changes_nothing(
        self, db_session: AsyncSession, hasher: PasswordHasher
    ) -> None:
        await seed_development(db_session, hasher, CREDENTIALS)
        before = {email: user.password_hash for email, user in (await self._users(db_session)).items()}
        assert await seed_development(db_session, hasher, CREDENTIALS) == []
        assert {
            email: user.password_hash for email, user in (await self._users(db_session)).items()
        } == before

    async def test_a_run_with_new_passwords_and_changed_users_puts_them_right(
        self, db_session: AsyncSession, hasher: PasswordHasher
    ) -> None:
        await seed_development(db_session, hasher, CREDENTIALS)
        users = await self._users(db_session)
        users["viewer@example.com"].is_active = False
        users["analyst@example.com"].scopes = []
        changed = await seed_development(
            db_session, hasher, {**CREDENTIALS, "admin@example.com": "a-new-password"}
        )
        assert changed == list(CREDENTIALS)
        assert users["viewer@example.com"].is_active
        assert users["analyst@example.com"].scopes == ["read:credits", "read:external", "read:records"]
        assert hasher.verify("a-new-password", users["admin@example.com"].password_hash)

    async def test_an_address_that_is_not_of_the_seed_is_refused(
        self, db_session: AsyncSession, hasher: PasswordHasher
    ) -> None:
        with pytest.raises(ValueError, match="eve"):
            await seed_development(db_session, hasher, {"eve@example.com": PASSWORD})
