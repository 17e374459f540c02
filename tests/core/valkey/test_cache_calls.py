"""``get_or_set_cache`` as the documents call it, and whose values are whose."""

import inspect
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel

from app.core.context import Principal, RequestContext, reset_context, set_context
from app.core.errors import ConfigurationError
from app.core.valkey import (
    CacheOptions,
    ValkeyClient,
    configure_cache,
    default_cache,
    get_or_set_cache,
    get_or_set_many,
)
from tests.apps import client_of
from tests.core.valkey.caching import Source, Watched

pytestmark = pytest.mark.usefixtures("clean_store")
ALICE = Principal("alice", frozenset({"read"}), frozenset({"r"}), tenant_id="acme")
BOB = Principal("bob", frozenset({"read"}), frozenset({"r"}), tenant_id="acme")


@pytest.fixture(autouse=True)
async def watched(store: ValkeyClient) -> AsyncIterator[Watched]:
    watched = Watched(store)
    configure_cache(watched.cache)
    yield watched
    configure_cache(None)


@contextmanager
def request_of(principal: Principal | None, tenant_id: str | None = None) -> Iterator[None]:
    token = set_context(RequestContext("r1", "192.0.2.1", principal=principal, tenant_id=tenant_id))
    try:
        yield
    finally:
        reset_context(token)


class TestCall:
    async def test_as_the_documents_write_it(self) -> None:
        source = Source({"id": 7})
        for _ in range(2):
            assert await get_or_set_cache("record:7", source, expire=300) == {"id": 7}
        assert source.calls == 1

    async def test_options_reach_the_cache(self, watched: Watched, store: ValkeyClient) -> None:
        await get_or_set_cache("a", Source(None), ttl=60, negative_ttl=5)
        assert watched.events["stored"] == 1
        await get_or_set_cache("b", Source(), options=CacheOptions(ttl=60, max_bytes=1))
        assert watched.events["too_large"] == 1
        await get_or_set_cache("c", Source(), ttl=60, tags=["t"])
        await default_cache().invalidate_tags("t")
        assert await get_or_set_cache("c", Source("newer"), ttl=60, tags=["t"]) == "newer"

    @pytest.mark.parametrize(
        "wrong",
        [
            {}, {"expire": 1, "ttl": 1}, {"ttl": 0}, {"ttl": 1, "options": CacheOptions(ttl=1)}, {"ttl": 1, "scope": "mine"},
            {"stale": 1, "options": CacheOptions(ttl=1)}, {"ttl": 1, "key_fn": str}, {"ttl": 1, "tags": lambda: ()},
        ],
    )  # fmt: skip
    async def test_mixtures_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            await get_or_set_cache("record:7", Source(), **wrong)

    async def test_without_a_configured_cache_it_says_so(self) -> None:
        configure_cache(None)
        with pytest.raises(ConfigurationError, match="configure_cache"):
            await get_or_set_cache("record:7", Source(), expire=300)


class TestScope:
    async def made_by(self, principal: Principal | None, key: Any = "k", **options: Any) -> Any:
        """Whether this caller's value is made for him: his own name comes back, or that of another."""
        with request_of(principal):
            return await get_or_set_cache(key, Source(principal.id if principal else "?"), ttl=60, **options)

    async def test_callers_do_not_see_each_others_values(self) -> None:
        assert [await self.made_by(who) for who in (ALICE, BOB, ALICE)] == ["alice", "bob", "alice"]

    async def test_an_anonymous_callers_value_is_never_kept(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        await self.made_by(ALICE)
        source = Source("fresh")
        for _ in range(2):
            with request_of(None):
                assert await get_or_set_cache("k", source, ttl=60) == "fresh"
                assert await get_or_set_cache("k", source, ttl=60, scope="tenant") == "fresh"
        assert (source.calls, watched.events["skipped"]) == (4, 4)
        assert await store.execute("DBSIZE") == 1

    async def test_other_rights_are_other_values(self) -> None:
        """A caller who lost a scope or a role must not be shown what he saw with it."""
        less = [
            Principal("alice", frozenset(), ALICE.roles, tenant_id="acme"),
            Principal("alice", ALICE.scopes, frozenset(), tenant_id="acme"),
            Principal("alice", ALICE.scopes, ALICE.roles, tenant_id="other"),
            # The same words as scopes and as roles.
            Principal("alice", ALICE.roles, ALICE.scopes, tenant_id="acme"),
        ]
        with request_of(ALICE):
            await get_or_set_cache("k", Source("admin"), ttl=60)
            await get_or_set_cache("k", Source("admin"), ttl=60, scope="tenant")
        for principal in less:
            assert await self.made_by(principal) == "alice"
        assert await self.made_by(less[0], scope="tenant") == "alice"

    async def test_a_scope_is_no_role(self) -> None:
        both = Principal("alice", frozenset({"a", "b"}))
        one_of_each = Principal("alice", frozenset({"a"}), frozenset({"b"}))
        with request_of(both):
            await get_or_set_cache("k", Source("with two scopes"), ttl=60)
        assert await self.made_by(one_of_each) == "alice"

    async def test_a_tenants_callers_share(self) -> None:
        assert [await self.made_by(who, scope="tenant") for who in (ALICE, BOB)] == ["alice", "alice"]
        stranger = Principal("carol", ALICE.scopes, ALICE.roles, tenant_id="other")
        assert await self.made_by(stranger, scope="tenant") == "carol"

    async def test_without_a_tenant_a_caller_is_alone(self) -> None:
        loners = [Principal(name, ALICE.scopes, ALICE.roles) for name in ("dan", "eve")]
        assert [await self.made_by(who, scope="tenant") for who in loners] == ["dan", "eve"]

    async def test_the_requests_tenant_is_the_one_that_counts(self) -> None:
        with request_of(ALICE, tenant_id="second"):
            await get_or_set_cache("k", Source("second"), ttl=60, scope="tenant")
        assert await self.made_by(ALICE, scope="tenant") == "alice"

    async def test_public_is_everybodys(self) -> None:
        callers: list[Principal | None] = [ALICE, BOB, None]
        assert [await self.made_by(who, scope="public") for who in callers] == ["alice"] * 3

    async def test_work_outside_requests_shares_its_own(self) -> None:
        source = Source("job")
        for _ in range(2):
            assert await get_or_set_cache("k", source, ttl=60) == "job"
        assert source.calls == 1
        assert await self.made_by(ALICE) == "alice"
        assert await self.made_by(ALICE, scope="public") == "alice"

    async def test_crafted_names_stay_in_their_place(self, store: ValkeyClient) -> None:
        await self.made_by(ALICE)
        crafted = [
            Principal("alice}:v1:e", ALICE.scopes, ALICE.roles, tenant_id="acme"),
            Principal("{u:alice}", ALICE.scopes, ALICE.roles, tenant_id="acme"),
        ]
        for principal in crafted:
            assert await self.made_by(principal) == principal.id
        assert await self.made_by(ALICE, "{u:bob}:v1:e:k") == "alice"
        assert await self.made_by(BOB) == "bob"
        for key in await store.execute("KEYS", "*"):
            assert key.count(b"{") == key.count(b"}") == 1

    async def test_parts_of_a_tuple_do_not_run_into_each_other(self) -> None:
        with request_of(ALICE):
            assert await get_or_set_cache(("a:b", "c"), Source(1), ttl=60) == 1
            assert await get_or_set_cache(("a", "b:c"), Source(2), ttl=60) == 2


class Profile(BaseModel):
    id: str
    name: str = "n"


class TestDecorator:
    async def test_as_the_documents_write_it(self) -> None:
        calls = []

        @get_or_set_cache(key_fn=lambda user_id: f"user:{user_id}", ttl=60)
        async def get_user_profile(user_id: str, user: object = None) -> dict[str, str]:
            """Reads it."""
            calls.append(user_id)
            return {"id": user_id}

        assert await get_user_profile("7") == {"id": "7"}
        assert await get_user_profile(user_id="7", user=object()) == {"id": "7"}
        assert await get_user_profile("8") == {"id": "8"}
        assert calls == ["7", "8"]
        assert list(inspect.signature(get_user_profile).parameters) == ["user_id", "user"]
        assert (get_user_profile.__name__, get_user_profile.__doc__) == ("get_user_profile", "Reads it.")
        assert inspect.iscoroutinefunction(get_user_profile)

    async def test_a_model_comes_back_as_data_or_as_the_model(self) -> None:
        @get_or_set_cache(key_fn=lambda user_id: ("data", user_id), ttl=60)
        async def data(user_id: str) -> Any:
            return Profile(id=user_id)

        @get_or_set_cache(key_fn=lambda user_id: ("model", user_id), ttl=60, model=Profile)
        async def model(user_id: str) -> Profile:
            return Profile(id=user_id)

        assert [await data("7") for _ in range(2)] == [Profile(id="7"), {"id": "7", "name": "n"}]
        assert [await model("7") for _ in range(2)] == [Profile(id="7")] * 2

    async def test_fastapi_sees_the_handler_as_it_is(self) -> None:
        app, source = FastAPI(), Source()

        def caller(name: str = "nobody") -> str:
            return name

        @app.get("/user/{user_id}", response_model=Profile)
        @get_or_set_cache(key_fn=lambda user_id: ("profile", user_id), ttl=60, scope="public")
        async def profile(user_id: int, who: Annotated[str, Depends(caller)]) -> Any:
            source.calls += 1
            return {"id": str(user_id), "name": who, "secret": "not in the model"}

        async with client_of(app) as client:
            for query in ("?name=first", "?name=second"):
                answer = await client.get(f"/user/7{query}")
                assert answer.json() == {"id": "7", "name": "first"}
            assert (await client.get("/user/seven")).status_code == 422
        assert source.calls == 1

    async def test_defaults_count_as_arguments_and_tags_may_depend_on_them(self) -> None:
        source = Source(1)

        @get_or_set_cache(key_fn=lambda page, **_: f"page:{page}", ttl=60, tags=lambda page: [f"page:{page}"])
        async def listing(q: str = "", page: int = 1) -> Any:
            return await source()

        for arguments in ({}, {"page": 1}, {"q": "x"}):
            assert await listing(**arguments) == 1
        assert source.calls == 1
        await default_cache().invalidate_tags("page:2")
        await listing()
        await default_cache().invalidate_tags("page:1")
        await listing()
        assert source.calls == 2

    async def test_callers_are_kept_apart(self) -> None:
        source = Source("alice")

        @get_or_set_cache(key_fn=lambda: "me", ttl=60)
        async def me() -> Any:
            return await source()

        with request_of(ALICE):
            await me()
        source.value = "bob"
        with request_of(BOB):
            assert await me() == "bob"

    def test_what_is_not_async_is_refused(self) -> None:
        def plain(user_id: str) -> str:
            return user_id

        async def generator(user_id: str) -> AsyncIterator[str]:
            yield user_id

        for function in (plain, generator):
            with pytest.raises(ConfigurationError, match="async functions"):
                get_or_set_cache(key_fn=lambda user_id: user_id, ttl=60)(function)  # type: ignore[arg-type]

    def test_a_name_that_the_function_does_not_take_is_refused(self) -> None:
        async def handler(user_id: str) -> str:
            return user_id

        with pytest.raises(ConfigurationError, match="names usr, which"):
            get_or_set_cache(key_fn=lambda usr: usr, ttl=60)(handler)


class TestMany:
    async def test_names_are_the_callers_own(self, watched: Watched) -> None:
        asked: list[Sequence[Any]] = []

        async def load(names: Sequence[Any]) -> Mapping[Any, str]:
            asked.append(list(names))
            return {name: f"{name} loaded" for name in names if name != "c"}

        names: list[str | tuple[str | int, ...]] = ["b", ("a", 1), "c", "b"]
        expected = ["b loaded", "('a', 1) loaded", None, "b loaded"]
        for who in (ALICE, ALICE, BOB):
            with request_of(who):
                assert await get_or_set_many(names, load, ttl=60) == expected
        assert asked == [["b", ("a", 1), "c"], ["c"], ["b", ("a", 1), "c"]]
        with request_of(None):
            assert await get_or_set_many(names, load, ttl=60) == expected
        assert watched.events["skipped"] == 1
