from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.service import (
    BadCredentials,
    DeviceTokens,
    InvalidScope,
    KnownPlaces,
    Lifetimes,
    Revocation,
    Sessions,
    SignIn,
    SignInGuard,
    SignInLimits,
    current_user,
)
from app.builtin.accounts.service.sign_in_guard import CurrentHash, Entry, Visit
from app.core.context import Principal
from app.core.errors import GatehouseError, PolicyRejected, Unavailable
from app.core.policies import Admitter, EpochBook
from app.core.resilience import ManualClock
from app.core.security import InvalidToken, PasswordHasher, TokenKey, TokenService
from app.core.valkey import ValkeyClient

EMAIL = "Ann@Example.com"
PASSWORD = "correct horse battery staple"
SECRET = b"a secret of these tests"
SignInWith = Callable[..., Awaitable[dict[str, str]]]
NO_STORE = ValkeyClient("valkey://127.0.0.1:1")  # a sign-in ends nothing


class WatchedGuard(SignInGuard):
    """Records which accounts were charged; refuses with what it was told to."""

    def __init__(self, store: ValkeyClient, clock: ManualClock) -> None:
        super().__init__(
            Admitter(store, clock=clock),
            KnownPlaces(store, secret=SECRET, life_s=1_000, most=5),
            DeviceTokens(secret=SECRET, life_s=1_000, clock=clock),
            SignInLimits(per_account=1_000, per_network=1_000, delay_after=1_000),
            secret=SECRET,
        )
        self.spent: list[str] = []
        self.refusal: GatehouseError | None = None

    async def enter(self, visit: Visit, current_hash: CurrentHash) -> Entry:
        self.spent.append(visit.account)
        if self.refusal is not None:
            raise self.refusal
        return await super().enter(visit, current_hash)


class CountingHasher(PasswordHasher):
    """Counts the hashes that it makes, whether to verify or to pretend."""

    def __init__(self, memory_kib: int = 64) -> None:
        super().__init__(memory_kib=memory_kib, time_cost=1, parallelism=1)
        self.verified = 0
        self.pretended = 0

    def verify(self, password: str, hashed: str) -> bool:
        self.verified += 1
        return super().verify(password, hashed)

    def verify_dummy(self, password: str) -> bool:
        self.pretended += 1
        return super().verify_dummy(password)

    @property
    def work(self) -> int:
        return self.verified + self.pretended


class World:
    """A sign-in service with one user."""

    def __init__(self, session: AsyncSession, user: User, store: ValkeyClient) -> None:
        self.session = session
        self.user = user
        self.users = UserRepository(session)
        self.hasher = CountingHasher()
        key = TokenKey.from_secret("a-secret-of-these-tests-with-over-32-bytes")
        clock = ManualClock(start=1_800_000_000)
        self.guard = WatchedGuard(store, clock)
        self.tokens = TokenService([key], issuer="i", audience="a", clock=clock)
        revocation = Revocation(EpochBook(NO_STORE, grace_s=60), clock)
        self.sessions = Sessions(
            tokens=self.tokens, revocation=revocation, lifetimes=Lifetimes(), clock=clock
        )
        self.sign_in = self.signing_in(self.hasher)

    def signing_in(self, hasher: PasswordHasher) -> SignIn:
        return SignIn(sessions=self.sessions, passwords=hasher, guard=self.guard)

    async def principal(self, email: str = EMAIL, password: str = PASSWORD, scope: str = "") -> Principal:
        opened = await self.sign_in.with_password(self.session, email, password, scope)
        return self.tokens.verify(opened.access.token)

    async def refused(self, email: str = EMAIL, password: str = PASSWORD) -> BadCredentials:
        with pytest.raises(BadCredentials) as refused:
            await self.principal(email, password)
        return refused.value


@pytest.fixture
async def world(
    db_session: AsyncSession, hasher: PasswordHasher, store: ValkeyClient, clean_store: None
) -> World:
    user = User(
        email=EMAIL,
        password_hash=hasher.hash(PASSWORD),
        roles=["db_reader"],
        scopes=["read:records", "write:records"],
    )
    db_session.add(user)
    await db_session.commit()
    return World(db_session, user, store)


class TestGoodCredentials:
    async def test_the_token_speaks_for_the_user_with_all_scopes_and_roles(self, world: World) -> None:
        principal = await world.principal()
        assert principal.id == str(world.user.id)
        assert principal.scopes == {"read:records", "write:records"}
        assert principal.roles == {"db_reader"}
        assert principal.methods == ("pwd",)

    @pytest.mark.parametrize("email", ["ann@example.com", "ANN@EXAMPLE.COM", " ann@Example.com "])
    async def test_any_spelling_of_the_address_signs_in(self, world: World, email: str) -> None:
        assert (await world.principal(email)).id == str(world.user.id)

    @pytest.mark.parametrize(
        ("asked", "granted"),
        [
            ("read:records", {"read:records"}),
            ("read:records write:records", {"read:records", "write:records"}),
            ("read:records run:cpu_job", {"read:records"}),
            ("write:records made:up", {"write:records"}),
        ],
    )
    async def test_the_token_has_the_scopes_that_were_asked_for_and_are_owned(
        self, world: World, asked: str, granted: set[str]
    ) -> None:
        assert (await world.principal(scope=asked)).scopes == granted

    async def test_a_user_without_scopes_gets_those_of_his_roles(self, world: World) -> None:
        world.user.scopes = []
        await world.session.commit()
        assert (await world.principal()).scopes == {"read:records"}
        assert (await world.principal(scope="read:records")).scopes == {"read:records"}

    async def test_a_user_without_scopes_and_roles_gets_a_token_without_scopes(self, world: World) -> None:
        world.user.scopes = world.user.roles = []
        await world.session.commit()
        assert (await world.principal()).scopes == frozenset()

    async def test_a_weaker_hash_is_replaced(self, world: World) -> None:
        stronger = CountingHasher(memory_kib=128)
        world.sign_in = world.signing_in(stronger)
        before = world.user.password_hash
        await world.principal()
        await world.session.commit()
        await world.session.refresh(world.user)
        assert world.user.password_hash != before
        assert stronger.verify(PASSWORD, world.user.password_hash)
        assert not stronger.needs_rehash(world.user.password_hash)

    async def test_a_present_hash_is_kept(self, world: World) -> None:
        before = world.user.password_hash
        await world.principal()
        assert world.user.password_hash == before


class TestBadCredentials:
    async def test_wrong_unknown_and_inactive_are_answered_alike_after_equal_work(self, world: World) -> None:
        refusals, work = [], []
        for case in ("wrong password", "unknown user", "inactive user"):
            world.user.is_active = case != "inactive user"
            await world.session.commit()
            before = world.hasher.work
            email = "nobody@example.com" if case == "unknown user" else EMAIL
            error = await world.refused(email, PASSWORD if case == "inactive user" else "wrong")
            refusals.append((error.status, error.title, error.detail, error.headers, error.extensions))
            work.append(world.hasher.work - before)
        assert refusals[0] == refusals[1] == refusals[2]
        assert refusals[0][0] == 401
        assert refusals[0][4] == {"error": "invalid_grant"}
        assert work == [1, 1, 1]

    async def test_the_refusal_names_neither_the_user_nor_the_password(self, world: World) -> None:
        error = await world.refused(password="wrong-password")
        assert "ann" not in str(error).lower()
        assert "wrong-password" not in str(error)

    @pytest.mark.parametrize("password", ["", PASSWORD + " ", PASSWORD.upper(), "a\0b", "\ud800", "x" * 5000])
    async def test_any_other_text_is_a_wrong_password(self, world: World, password: str) -> None:
        assert (await world.refused(password=password)).status == 401

    async def test_a_hash_that_cannot_be_read_is_a_wrong_password(self, world: World) -> None:
        world.user.password_hash = "not a hash"
        await world.session.commit()
        assert (await world.refused()).status == 401


class TestWhileThePasswordIsVerified:
    """Somebody else changes the user, whose hash was read before."""

    @pytest.mark.parametrize(
        "change",
        ["is_active = false", "password_hash = 'another'"],
    )
    async def test_a_user_who_was_disabled_or_has_another_password_now_gets_no_session(
        self, world: World, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        verify = world.hasher.verify_async

        async def slow(password: str, hashed: str) -> bool:
            good = await verify(password, hashed)
            await world.session.execute(text(f"UPDATE users SET {change}"))
            return good

        monkeypatch.setattr(world.hasher, "verify_async", slow)
        await world.refused()
        assert await world.session.scalar(text("SELECT count(*) FROM auth_sessions")) == 0


class TestConnection:
    @pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
    async def test_no_transaction_is_open_while_a_password_is_hashed(
        self, world: World, email: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_transactions: list[bool] = []

        def look(password: str, hashed: str = "") -> bool:
            open_transactions.append(world.session.in_transaction())
            return False

        monkeypatch.setattr(world.hasher, "verify", look)
        monkeypatch.setattr(world.hasher, "verify_dummy", look)
        await world.refused(email)
        assert open_transactions == [False]


class TestScope:
    @pytest.mark.parametrize("asked", ["run:cpu_job", "made:up", "run:cpu_job read:monitor"])
    async def test_asking_only_for_scopes_of_others_is_refused(self, world: World, asked: str) -> None:
        with pytest.raises(InvalidScope) as refused:
            await world.principal(scope=asked)
        assert (refused.value.status, refused.value.extensions) == (400, {"error": "invalid_scope"})

    async def test_a_wrong_password_is_not_told_about_scopes(self, world: World) -> None:
        with pytest.raises(BadCredentials):
            await world.principal(password="wrong", scope="run:cpu_job")

    @pytest.mark.parametrize("asked", ["Read:records", "a\tb", 'a"b', "é", "\0"])
    async def test_text_that_is_no_list_of_scopes_is_refused_before_anything_is_charged(
        self, world: World, asked: str
    ) -> None:
        with pytest.raises(InvalidScope):
            await world.principal(scope=asked)
        assert world.guard.spent == []


class TestAttempts:
    async def test_every_attempt_is_charged_to_the_account_under_one_name_for_all_spellings(
        self, world: World
    ) -> None:
        await world.principal("ANN@example.com")
        await world.refused(" ann@EXAMPLE.com", "wrong")
        await world.refused("Nobody@example.com", "wrong")
        assert world.guard.spent == ["ann@example.com", "ann@example.com", "nobody@example.com"]

    @pytest.mark.parametrize(
        "refusal", [PolicyRejected("slow down", retry_after=9), Unavailable("store down")]
    )
    @pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
    async def test_a_refused_attempt_verifies_nothing_even_with_the_right_password(
        self, world: World, refusal: GatehouseError, email: str
    ) -> None:
        world.guard.refusal = refusal
        with pytest.raises(type(refusal)) as raised:
            await world.principal(email)
        assert raised.value is refusal
        assert world.hasher.work == 0


class TestCurrentUser:
    async def test_the_user_of_a_token_is_found(self, world: World) -> None:
        assert await current_user(world.users, Principal(id=str(world.user.id))) is world.user

    async def test_a_deleted_user_is_not_authenticated(self, world: World) -> None:
        await world.session.delete(world.user)
        await world.session.commit()
        with pytest.raises(InvalidToken):
            await current_user(world.users, Principal(id=str(world.user.id)))

    async def test_an_inactive_user_is_not_authenticated(self, world: World) -> None:
        world.user.is_active = False
        with pytest.raises(InvalidToken):
            await current_user(world.users, Principal(id=str(world.user.id)))

    @pytest.mark.parametrize(
        "subject", ["", "admin", "1", "' OR 1=1 --", "00000000-0000-7000-8000-000000000007"]
    )
    async def test_a_subject_that_is_no_user_is_not_authenticated(self, world: World, subject: str) -> None:
        with pytest.raises(InvalidToken):
            await current_user(world.users, Principal(id=subject))
