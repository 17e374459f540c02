"""Passwords and tokens for code of one's own, in scripts and in the place of a request, on a real store."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.builtin.accounts import (
    create_access_token,
    get_password_hash,
    script_functions,
    verify_password,
)
from app.builtin.accounts.service import (
    AccountFunctions,
    SignInLimits,
    UnfitPassword,
    configure_functions,
)
from app.builtin.accounts.service.signing import token_keys
from app.core.context import Principal, RequestContext, reset_context, set_context
from app.core.errors import ConfigurationError, PolicyRejected, Unavailable
from app.core.policies import Admitter
from app.core.resilience import ManualClock, SystemClock
from app.core.security import KeyRotation, PasswordHasher, TokenKey, TokenService
from app.core.valkey import ValkeyClient
from app.settings import Settings, TokenSettings

PASSWORD = "correct horse battery staple"
LONG = 31_000
LIMITS = SignInLimits(
    per_account=2, per_network=5, window_s=LONG, delay_after=4, delay_s=LONG, delay_max_s=LONG
)


def functions_on(store: ValkeyClient, hasher: PasswordHasher) -> AccountFunctions:
    clock = ManualClock(start=1_800_000_000)
    tokens = TokenService(
        [TokenKey.from_secret("a-secret-of-these-tests-with-over-32-bytes")],
        issuer="i",
        audience="a",
        clock=clock,
    )
    return AccountFunctions(Admitter(store, clock=clock), hasher, tokens, LIMITS, secret=b"of these tests")


@pytest.fixture
async def functions(
    store: ValkeyClient, hasher: PasswordHasher, clean_store: None
) -> AsyncIterator[AccountFunctions]:
    made = functions_on(store, hasher)
    forget = configure_functions(made)
    yield made
    forget()


@contextmanager
def called_by(user: str | None = None, address: str = "192.0.2.1") -> Iterator[None]:
    """In a request of this user, or of nobody, from this address."""
    principal = Principal(user) if user is not None else None
    token = set_context(RequestContext(client_ip=address, principal=principal))
    try:
        yield
    finally:
        reset_context(token)


async def is_counted_out(password: str, hashed: str, subject: str | None = None) -> bool:
    try:
        assert not await verify_password(password, hashed, subject=subject)
    except PolicyRejected as refused:
        return refused.status == 429
    return False


async def tries(count: int, hashed: str, subject: str | None = None) -> int:
    """How many of so many wrong passwords were tried."""
    return count - sum([await is_counted_out("wrong", hashed, subject) for _ in range(count)])


@pytest.fixture
async def hashed(functions: AccountFunctions) -> str:
    return await get_password_hash(PASSWORD)


class TestPasswords:
    async def test_a_hash_is_argon2id_and_verifies_its_password_alone(self, hashed: str) -> None:
        assert hashed.startswith("$argon2id$")
        assert await verify_password(PASSWORD, hashed)
        assert not await verify_password(PASSWORD + " ", hashed)

    @pytest.mark.parametrize("password", ["short", "password1", "ann@example.com"])
    async def test_a_password_that_must_not_be_chosen_is_not_hashed(
        self, functions: AccountFunctions, password: str
    ) -> None:
        with pytest.raises(UnfitPassword):
            await get_password_hash(password, email="ann@example.com")

    async def test_in_a_script_a_subject_is_tried_so_often(self, hashed: str) -> None:
        assert await tries(5, hashed) == LIMITS.per_account
        with pytest.raises(PolicyRejected) as refused:
            await verify_password(PASSWORD, hashed)
        assert refused.value.retry_after is not None
        assert await tries(5, hashed, "another subject") == LIMITS.per_account

    async def test_a_right_password_is_verified_as_often_as_one_likes(self, hashed: str) -> None:
        assert all([await verify_password(PASSWORD, hashed) for _ in range(10)])
        with called_by("ann"):
            assert all([await verify_password(PASSWORD, hashed) for _ in range(10)])

    async def test_one_caller_has_his_tries_and_another_his_own(self, hashed: str) -> None:
        for user, address in (("ann", "192.0.2.1"), ("bob", "192.0.2.1")):
            with called_by(user, address):
                assert await tries(3, hashed) == LIMITS.per_account

    async def test_anonymous_callers_are_counted_by_network(self, hashed: str) -> None:
        for address, tried in (("2001:db8::1", 2), ("2001:db8::2", 0), ("2001:db8:0:1::1", 2)):
            with called_by(None, address):
                assert await tries(3, hashed) == tried

    async def test_one_caller_has_some_tries_on_all_subjects(self, hashed: str) -> None:
        with called_by("mallory"):
            assert [await tries(1, hashed, f"user-{n}") for n in range(7)] == [1] * LIMITS.per_network + [
                0
            ] * 2

    async def test_many_callers_make_a_subject_wait(self, hashed: str) -> None:
        tried = 0
        for n in range(6):
            with called_by(f"user-{n}"):
                tried += await tries(1, hashed)
        assert tried == LIMITS.delay_after

    async def test_nobody_s_password_is_wrong_and_counted(self, functions: AccountFunctions) -> None:
        for _ in range(LIMITS.per_account):
            assert not await verify_password(PASSWORD, None, subject="nobody")
        with pytest.raises(PolicyRejected):
            await verify_password(PASSWORD, None, subject="nobody")
        with pytest.raises(ValueError, match="subject"):
            await verify_password(PASSWORD, None)


class TestTokens:
    async def test_a_token_speaks_for_its_subject_with_scopes_and_roles(
        self, functions: AccountFunctions
    ) -> None:
        token = await create_access_token({"sub": "ann", "scopes": ["read:records"], "roles": ["admin"]})
        principal = functions.tokens.verify(token)
        assert (principal.id, principal.scopes, principal.roles) == (
            "ann",
            frozenset({"read:records"}),
            frozenset({"admin"}),
        )
        bare = functions.tokens.verify(await create_access_token({"sub": "ann"}))
        assert (bare.scopes, bare.roles) == (frozenset(), frozenset())

    @pytest.mark.parametrize(
        "data",
        [
            {}, {"sub": 7}, {"sub": ""}, {"sub": "ann", "exp": 1}, {"sub": "ann", "scopes": "read:records"},
            {"sub": "ann", "roles": "admin"}, {"sub": "ann", "scopes": ["no scope"]}, {"sub": "a b"},
        ],
    )  # fmt: skip
    async def test_other_data_make_no_token(self, functions: AccountFunctions, data: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="token"):
            await create_access_token(data)

    async def test_tokens_for_one_subject_are_limited_in_scripts_and_for_all_callers_together(
        self, functions: AccountFunctions
    ) -> None:
        refusals = []
        for n in range(70):
            try:
                with called_by(f"user-{n}"):
                    await create_access_token({"sub": "ann"})
            except PolicyRejected as refused:
                refusals.append((refused.status, refused.violated))
        # Those of a few seconds: a machine that slow gets one or two back meanwhile.
        assert 7 <= len(refusals) <= 10
        assert set(refusals) == {(429, ("subject",))}
        await create_access_token({"sub": "bob"})


class TestWhere:
    async def test_what_is_not_configured_says_how(self) -> None:
        for call in (
            get_password_hash(PASSWORD),
            create_access_token({"sub": "ann"}),
            verify_password("x", "y"),
        ):
            with pytest.raises(ConfigurationError, match="script_functions"):
                await call

    async def test_a_script_counts_where_its_settings_say(
        self, make_settings: Callable[..., Settings], clean_store: None, store: ValkeyClient
    ) -> None:
        async with script_functions(make_settings(login={"per_account": 1})):
            assert not await verify_password("wrong", None, subject="ann")
            with pytest.raises(PolicyRejected):
                await verify_password("wrong", None, subject="ann")
        assert not [key for key in await store.execute("KEYS", "*") if b"ann" in key]
        with pytest.raises(ConfigurationError):
            await verify_password("wrong", None, subject="ann")

    async def test_a_scripts_tokens_are_signed_by_the_keys_of_the_service(
        self, make_settings: Callable[..., Settings], clean_store: None, tmp_path: Path
    ) -> None:
        keys = KeyRotation(tmp_path, ttl_s=900, clock=ManualClock(start=SystemClock().time() - 3600))
        keys.rotate("EdDSA", lead_s=600)
        settings = make_settings(token=TokenSettings(keys_dir=tmp_path))
        service = TokenService(
            token_keys([], tmp_path, ttl_s=900, clock=SystemClock()),
            issuer=settings.token.issuer,
            audience=settings.token.audience,
            clock=SystemClock(),
        )
        async with script_functions(settings):
            token = await create_access_token({"sub": "ann"})
        assert service.verify(token).id == "ann"

    async def test_a_script_without_a_store_is_refused(self) -> None:
        settings = Settings(_env_file=None, app_env="test", valkey_url=None, redis_url=None)
        with pytest.raises(ConfigurationError, match="VALKEY_URL"):
            async with script_functions(settings):
                pass

    async def test_without_the_store_no_password_is_tried(self, hasher: PasswordHasher) -> None:
        store = ValkeyClient("valkey://127.0.0.1:1")
        forget = configure_functions(functions_on(store, hasher))
        with pytest.raises(Unavailable):
            await verify_password(PASSWORD, hasher.hash(PASSWORD))
        forget()
        await store.close()

    async def test_who_was_configured_last_is_not_forgotten_by_another(
        self, functions: AccountFunctions, store: ValkeyClient, hasher: PasswordHasher
    ) -> None:
        forget = configure_functions(functions_on(store, hasher))
        again = configure_functions(functions)
        forget()
        assert await get_password_hash(PASSWORD)
        again()
