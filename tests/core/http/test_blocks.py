"""The limits as building blocks: whom they count, what they leave of a handler, how they refuse; on real Valkey."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import anyio.to_thread
import httpx2
import pytest
from fastapi import Depends, Path

from app.core.context import RequestContext, reset_context, set_context
from app.core.errors import ConfigurationError
from app.core.http import (
    APIRouter,
    Platform,
    api_worker,
    current_platform,
    debounce,
    enforce_all_policies,
    fixed_window,
    require_scope,
    sliding_window,
    throttle,
    token_bucket,
    token_bucket_limiter,
)
from app.core.http._block import name_of
from app.core.observability import Event, PolicyEvent
from app.core.policies import (
    CostRequest,
    JobConfig,
    RateLimitExceeded,
    configure_engine,
    is_policy_name,
)
from app.settings import Settings
from tests.apps import client_of
from tests.core.http.gated import READER, WRITER, as_, routed
from tests.core.http.workshop import LONG

pytestmark = pytest.mark.usefixtures("clean_store")
OPEN = {"/*": "guarded by hand"}
SLOW = 0.000_01  # tokens a second: none comes back during a test
READ = Depends(require_scope("read:records"))
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def served(*decorators: Decorator, dependencies: tuple[Any, ...] = ()) -> APIRouter:
    """``/things`` behind these decorators, the first outermost."""
    router = APIRouter()

    async def things() -> str:
        return "served"

    handler: Callable[..., Any] = things
    for decorator in reversed(decorators):
        handler = decorator(handler)
    router.add_api_route("/things", handler, dependencies=list(dependencies))
    return router


async def statuses(
    client: httpx2.AsyncClient, times: int, path: str = "/things", **options: Any
) -> list[int]:
    return [(await client.get(path, **options)).status_code for _ in range(times)]


class TestAlgorithms:
    @pytest.mark.parametrize(
        ("block", "name", "policy"),
        [
            (token_bucket(max_tokens=2, refill_rate=SLOW), "token_bucket_2_per_200000s", "q=2;w=200000"),
            (token_bucket_limiter(2, SLOW), "token_bucket_2_per_200000s", "q=2;w=200000"),
            (fixed_window(limit=2, window=LONG), "fixed_window_2_per_25920000s", "q=2;w=25920000"),
            (sliding_window(limit=2, window=LONG), "sliding_window_2_per_25920000s", "q=2;w=25920000"),
        ],
    )
    async def test_the_third_of_two_is_429_like_a_gates(
        self, settings: Settings, block: Decorator, name: str, policy: str
    ) -> None:
        async with routed(settings, served(block), open_routes=OPEN) as client:
            answers = [await client.get("/things") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=1", "r=0", "r=0"]
        assert answers[0].headers["ratelimit-policy"] == f'"{name}";{policy}'
        refusal = answers[2]
        assert refusal.headers["content-type"] == "application/problem+json"
        assert refusal.json()["violated-policies"] == [name]
        assert refusal.json()["policy"].startswith("things_")
        assert int(refusal.headers["retry-after"]) >= 1

    async def test_throttle_spaces_and_debounce_wants_silence(self, settings: Settings) -> None:
        async with routed(settings, served(throttle(rate=2, per=3600)), open_routes=OPEN) as client:
            assert await statuses(client, 2) == [200, 429]
        async with routed(settings, served(debounce(interval=3600)), open_routes=OPEN) as client:
            assert await statuses(client, 2) == [200, 429]

    async def test_exactly_as_many_as_allowed_of_many_at_once(self, settings: Settings) -> None:
        router = served(token_bucket(max_tokens=5, refill_rate=SLOW))
        async with routed(settings, router, open_routes=OPEN) as client:
            answers = await asyncio.gather(*(client.get("/things") for _ in range(50)))
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 45

    async def test_several_on_one_handler_are_several_buckets(self, settings: Settings) -> None:
        blocks = fixed_window(limit=3, window=LONG), fixed_window(limit=1, window=LONG / 2)
        async with routed(settings, served(*blocks), open_routes=OPEN) as client:
            answers = [await client.get("/things") for _ in range(2)]
        assert [
            answer.json().get("violated-policies") if answer.status_code > 200 else None for answer in answers
        ] == [
            None,
            ["fixed_window_1_per_12960000s"],
        ]
        assert len(answers[0].headers.get_list("ratelimit")) == 2


class TestWhoIsCounted:
    async def test_the_principal_that_a_dependency_found(self, settings: Settings) -> None:
        router = served(token_bucket(max_tokens=1, refill_rate=SLOW), dependencies=(READ,))
        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, 2, headers=as_(READER)) == [200, 429]
            assert await statuses(client, 2, headers=as_(WRITER)) == [200, 429]
            # A refused caller never gets to the decorator, hence not to anybody's bucket.
            assert await statuses(client, 1) == [401]

    async def test_the_principal_that_the_gate_found(self, settings: Settings) -> None:
        router, config = APIRouter(), JobConfig()

        @router.get("/things", dependencies=[enforce_all_policies("things", config)])
        @api_worker(config)
        @token_bucket(max_tokens=1, refill_rate=SLOW)
        async def things() -> str:
            return "served"

        async with routed(settings, router) as client:
            assert await statuses(client, 2, headers=as_(READER)) == [200, 429]
            assert await statuses(client, 1, headers=as_(WRITER)) == [200]

    async def test_an_anonymous_caller_by_his_network(self, settings: Settings) -> None:
        router = served(token_bucket(max_tokens=1, refill_rate=SLOW))
        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, 2) == [200, 429]
            app = client._transport.app  # type: ignore[attr-defined]
            for address, expected in (
                ("192.0.2.7", [200, 429]),
                ("2001:db8::1", [200]),
                ("2001:db8::2", [429]),
            ):
                async with client_of(app, address) as other:
                    assert await statuses(other, len(expected)) == expected

    async def test_everybody_together_where_the_scope_says_so(self, settings: Settings) -> None:
        router = served(token_bucket(max_tokens=1, refill_rate=SLOW, scope="route"), dependencies=(READ,))
        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, 1, headers=as_(READER)) == [200]
            assert await statuses(client, 1, headers=as_(WRITER)) == [429]


class TestNames:
    async def test_two_handlers_with_the_same_limit_are_two_buckets(self, settings: Settings) -> None:
        router, block = APIRouter(), token_bucket(max_tokens=1, refill_rate=SLOW)

        def add(path: str) -> None:
            async def handler() -> str:
                return path

            router.add_api_route(path, block(handler))

        add("/first")
        add("/second")
        async with routed(settings, router, open_routes=OPEN) as client:
            assert [await statuses(client, 2, path) for path in ("/first", "/second")] == [[200, 429]] * 2

    async def test_one_name_is_one_bucket(self, settings: Settings) -> None:
        router = APIRouter()
        for path in ("/first", "/second"):

            @router.get(path)
            @token_bucket(max_tokens=1, refill_rate=SLOW, name="both")
            async def handler() -> str:
                return "served"

        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, 1, "/first") == [200]
            assert (await client.get("/second")).json()["policy"] == "both"

    def test_a_name_is_the_same_in_every_process_and_tells_handlers_apart(self) -> None:
        def of(name: str, module: str = "app.features.orders.router") -> str:
            async def handler() -> None: ...

            handler.__name__ = handler.__qualname__ = name
            handler.__module__ = module
            return name_of(handler)

        assert of("get_record") == "get_record_fd8ea73ba991"
        names = {
            of("get_record"),
            of("get_record", "other"),
            of("Über_1"),
            of("_"),
            of("x" * 200),
            of("x" * 199),
        }
        assert len(names) == 6
        assert all(is_policy_name(name) for name in names)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: token_bucket(5, 1, name="No"), "must match"),
            (lambda: token_bucket(0, 1), "refill_rate|quota"),
            (lambda: token_bucket(5, 1, scope="global"), "scope='route'"),
            (lambda: fixed_window(5, 1, shared="all"), "same name"),
            (lambda: debounce(0), "window"),
        ],
    )
    def test_what_cannot_work_is_refused_where_it_is_written(
        self, make: Callable[[], Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            make()


class TestHandlers:
    async def test_signature_kind_and_answer_stay(self, settings: Settings) -> None:
        router = APIRouter()

        @router.get("/things/{number}")
        @token_bucket(max_tokens=2, refill_rate=SLOW)
        async def things(number: Annotated[int, Path(ge=1)], extra: str = "x") -> dict[str, Any]:
            """Docs."""
            return {"number": number, "extra": extra}

        assert inspect.iscoroutinefunction(things)
        assert list(inspect.signature(things).parameters) == ["number", "extra"]
        assert (things.__name__, things.__doc__) == ("things", "Docs.")
        async with routed(settings, router, open_routes=OPEN) as client:
            assert (await client.get("/things/3?extra=y")).json() == {"number": 3, "extra": "y"}
            assert await statuses(client, 2, "/things/0") == [422, 422]  # refused before the decorator
            assert await statuses(client, 2, "/things/3") == [200, 429]
            parameters = (await client.get("/openapi.json")).json()["paths"]["/things/{number}"]["get"]
        assert [parameter["name"] for parameter in parameters["parameters"]] == ["number", "extra"]

    async def test_a_sync_handler_stays_sync_and_runs_in_its_thread(self, settings: Settings) -> None:
        router = APIRouter()

        @token_bucket(max_tokens=1, refill_rate=SLOW)
        def things() -> bool:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            return True

        assert not inspect.iscoroutinefunction(things)
        router.add_api_route("/things", things)
        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, 2) == [200, 429]
        with pytest.raises(ConfigurationError, match="worker thread"):
            things()

    def test_a_stream_is_refused_because_its_answer_has_begun(self) -> None:
        async def lines() -> AsyncIterator[str]:
            yield "line"

        def more() -> Iterator[str]:
            yield "line"

        for handler in (lines, more):
            with pytest.raises(ValueError, match="stream"):
                token_bucket(5, 1)(handler)

    async def test_a_refused_request_does_not_run_its_handler(self, settings: Settings) -> None:
        router, calls = APIRouter(), list[int]()

        @router.get("/things")
        @token_bucket(max_tokens=1, refill_rate=SLOW)
        async def things() -> None:
            calls.append(1)

        async with routed(settings, router, open_routes=OPEN) as client:
            await statuses(client, 3)
        assert calls == [1]


class TestDependencies:
    async def test_the_same_limit_as_a_dependency_counts_per_route(self, settings: Settings) -> None:
        router, guard = APIRouter(), Depends(token_bucket(max_tokens=1, refill_rate=SLOW).dependency)
        for path in ("/first", "/second"):

            def add(path: str = path) -> None:
                async def handler() -> str:
                    return path

                router.add_api_route(path, handler, dependencies=[READ, guard])

            add()
        async with routed(settings, router, open_routes=OPEN) as client:
            for path in ("/first", "/second"):
                answers = [await client.get(path, headers=as_(READER)) for _ in range(2)]
                assert [answer.status_code for answer in answers] == [200, 429]
                assert answers[0].headers["ratelimit"].startswith('"token_bucket_1_per_100000s";r=0')
                assert await statuses(client, 1, path, headers=as_(WRITER)) == [200]

    async def test_a_stream_can_be_guarded_so(self, settings: Settings) -> None:
        router = APIRouter()

        @router.get("/things", dependencies=[Depends(fixed_window(1, LONG).dependency)])
        async def things() -> str:
            return "served"

        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, 2) == [200, 429]


class TestOptions:
    async def test_a_cost_is_asked_of_the_request(self, settings: Settings) -> None:
        def cost(request: CostRequest) -> int:
            return int(request.query["n"][0]) * int(request.path_params["factor"])

        router = APIRouter()

        @router.get("/things/{factor}")
        @token_bucket(max_tokens=10, refill_rate=SLOW, cost=cost)
        async def things(factor: int) -> str:
            return "served"

        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, 1, "/things/2?n=4") == [200]
            assert await statuses(client, 1, "/things/1?n=3") == [429]
            assert await statuses(client, 1, "/things/1?n=2") == [200]
            assert await statuses(client, 1, "/things/1?n=11") == [422]

    async def test_shadow_refuses_nobody_and_reports(self, settings: Settings) -> None:
        events: list[PolicyEvent] = []

        def listen(event: Event) -> None:
            assert isinstance(event, PolicyEvent)
            events.append(event)

        router = served(token_bucket(max_tokens=1, refill_rate=SLOW, shadow=True, name="watched"))
        async with routed(
            settings,
            router,
            open_routes=OPEN,
            change=lambda app: app.state.gatehouse.hub.subscribe(PolicyEvent, listen),
        ) as client:
            answers = [await client.get("/things") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert "ratelimit" not in answers[0].headers
        assert [event.shadowed for event in events if event.policy == "watched"] == [
            (),
            ("token_bucket_1_per_100000s",),
        ]

    async def test_without_valkey_it_counts_in_the_process(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        settings = make_settings(valkey_url="valkey://127.0.0.1:1/0")
        router = served(token_bucket(max_tokens=1, refill_rate=SLOW))
        async with routed(settings, router, open_routes=OPEN) as client:
            answers = [await client.get("/things") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert "ratelimit" not in answers[0].headers

    async def test_closed_is_503_without_valkey(self, make_settings: Callable[..., Settings]) -> None:
        settings = make_settings(valkey_url="valkey://127.0.0.1:1/0")
        router = served(token_bucket(max_tokens=1, refill_rate=SLOW, on_store_down="closed"))
        async with routed(settings, router, open_routes=OPEN) as client:
            assert await statuses(client, 1) == [503]


class TestOutsideARequest:
    async def test_it_counts_the_contexts_principal_on_the_process_engine(self, settings: Settings) -> None:
        platforms: list[Platform] = []

        @token_bucket(max_tokens=1, refill_rate=SLOW)
        async def work() -> str:
            return "done"

        async with routed(settings, APIRouter(), change=lambda app: platforms.append(app.state.gatehouse)):
            configure_engine(platforms[0].engine)
            for principal in (READER, WRITER):
                token = set_context(RequestContext(principal=principal))
                assert await work() == "done"
                with pytest.raises(RateLimitExceeded):
                    await work()
                reset_context(token)
            with pytest.raises(ConfigurationError, match="no caller to count"):
                await work()
        configure_engine(None)

    async def test_a_thread_of_the_loop_may_call_a_sync_function(self, settings: Settings) -> None:
        platforms: list[Platform] = []

        @fixed_window(1, LONG)
        def work() -> str:
            return "done"

        async with routed(settings, APIRouter(), change=lambda app: platforms.append(app.state.gatehouse)):
            configure_engine(platforms[0].engine)
            token = set_context(RequestContext(principal=READER))
            assert await anyio.to_thread.run_sync(work) == "done"
            with pytest.raises(RateLimitExceeded):
                await anyio.to_thread.run_sync(work)
            reset_context(token)
        configure_engine(None)

    async def test_a_process_without_an_engine_says_so(self) -> None:
        @fixed_window(1, 60)
        async def work() -> None: ...

        token = set_context(RequestContext(principal=READER))
        with pytest.raises(ConfigurationError, match="configure_engine"):
            await work()
        reset_context(token)
        with pytest.raises(ConfigurationError):
            current_platform()

    async def test_two_applications_in_one_process_keep_apart(
        self, settings: Settings, make_settings: Callable[..., Settings]
    ) -> None:
        block = token_bucket(max_tokens=1, refill_rate=SLOW, name="apart")
        down = make_settings(valkey_url="valkey://127.0.0.1:1/0")
        async with (
            routed(settings, served(block), open_routes=OPEN) as first,
            routed(down, served(block), open_routes=OPEN) as second,
        ):
            assert await statuses(first, 2) == [200, 429]
            assert await statuses(second, 2) == [200, 429]
