"""The outermost layer: identity, caps, shedding, headers, unexpected errors, reports."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, BackgroundTasks, Body, FastAPI, Form, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.types import Message, Scope

from app.core.context import current_context
from app.core.http._client_address import AddressResolver
from app.core.http._edge import UNMATCHED, EdgeMiddleware
from app.core.http._exchange import BrokenResponseError
from app.core.http._problem import install_problem_handlers
from app.core.http._state import SCOPE_KEY
from app.core.http._traffic import TrafficControl
from app.core.observability import RequestRecord
from tests.cases import each_case

CONTENT_TYPES = {"/echo": b"application/json", "/form": b"application/x-www-form-urlencoded"}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Bench:
    """One application behind the edge, and what the edge reported of it."""

    def __init__(self, **options: Any) -> None:
        self.records: list[RequestRecord] = []
        self.traffic = options.pop("traffic", None) or TrafficControl(audited=True)
        self.app = make_app()
        self.app.add_middleware(
            EdgeMiddleware,
            traffic=self.traffic,
            max_body_bytes=options.pop("max_body_bytes", 100),
            report=self.records.append,
            **options,
        )
        self.client_address = ("203.0.113.9", 4711)

    async def request(self, method: str, url: str, **options: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app, client=self.client_address)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, url, **options)

    async def raw(self, scope: dict[str, Any], incoming: list[Message]) -> list[Message]:
        """Call the application as a server would; it receives ``incoming``, then disconnects."""
        sent: list[Message] = []
        queue = iter([*incoming, {"type": "http.disconnect"}])

        async def receive() -> Message:
            return next(queue)

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(make_scope(**scope), receive, send)
        return sent


def make_scope(**overrides: Any) -> Scope:
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": "/items/1",
        "raw_path": b"/items/1", "query_string": b"", "headers": [], "client": ("203.0.113.9", 1),
        "server": ("test", 80), "scheme": "http", "root_path": "", "state": {},
    }  # fmt: skip
    return {**scope, **overrides}


def make_app() -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    router = APIRouter(prefix="/v1")
    app.state.events = []
    app.state.waiting = asyncio.Semaphore(0)

    @app.get("/items/{item}")
    async def item(item: str, request: Request) -> dict[str, str | None]:
        context = current_context()
        request.scope[SCOPE_KEY].headers.append((b"x-limit", b"5"))
        return {
            "item": item,
            "request_id": context.request_id,
            "client_ip": context.client_ip,
            "traceparent": context.traceparent,
        }

    @router.get("/deep/{thing}")
    async def deep(thing: str) -> str:
        return thing

    @app.get("/live")
    @app.get("/ready")
    @app.get("/metrics")
    async def probe() -> str:
        return "ok"

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(
            json.dumps([current_context().request_id, websocket.scope[SCOPE_KEY].client_ip])
        )
        await websocket.close()

    app.include_router(router)
    add_readers(app)
    add_troublemakers(app)
    return app


def add_readers(app: FastAPI) -> None:
    """Endpoints that take a body."""

    @app.post("/echo")
    async def echo(body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        app.state.events.append("handled")
        return body

    @app.post("/form")
    async def form(name: Annotated[str, Form()]) -> str:
        return name

    @app.post("/small")
    async def small(request: Request) -> int:
        request.scope[SCOPE_KEY].body_limit = 10
        return len(await request.body())

    @app.post("/swallow")
    async def swallow(request: Request) -> str:
        try:
            await request.body()
        except Exception:  # noqa: BLE001 - the careless handler under test
            return "fine"
        return "read"

    @app.post("/ignore")
    async def ignore() -> str:
        return "ignored"


def add_troublemakers(app: FastAPI) -> None:
    """Endpoints that fail, or do not end."""

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("kaputt: password=hunter2")

    @app.get("/stray")
    async def stray() -> None:
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise RuntimeError("kaputt")

        return StreamingResponse(parts())

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        def work() -> None:
            app.state.events.append("background")

        tasks.add_task(work)
        return "ok"

    @app.get("/wait")
    async def wait() -> None:
        app.state.waiting.release()
        await asyncio.Event().wait()


def assert_problem(answer: httpx2.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


class TestIdentity:
    async def test_every_answer_names_its_request_and_carries_the_gates_headers(self) -> None:
        answer = await Bench().request("GET", "/items/7")
        assert UUID7.fullmatch(answer.headers["x-request-id"])
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-limit"] == "5"

    async def test_a_strangers_request_id_is_replaced(self) -> None:
        answer = await Bench().request("GET", "/items/7", headers={"X-Request-ID": "mine"})
        assert UUID7.fullmatch(answer.headers["x-request-id"])

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("abc-1.2_3", True),
            ("x" * 128, True),
            ("x" * 129, False),
            ("a b", False),
            ("", False),
            ("eyJhbGciOi.x.y", False),
        ],
    )
    async def test_a_trusted_proxys_request_id_is_kept_when_sane(self, given: str, kept: bool) -> None:
        bench = Bench(addresses=AddressResolver([ip_network("203.0.113.0/24")]))
        answer = await bench.request("GET", "/items/7", headers={"X-Request-ID": given})
        assert (answer.headers["x-request-id"] == given) is kept

    async def test_the_client_is_the_hop_behind_our_proxy(self) -> None:
        bench = Bench(addresses=AddressResolver([ip_network("203.0.113.0/24")]))
        headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "198.51.100.7")]
        answer = await bench.request("GET", "/items/7", headers=headers)
        assert answer.json()["client_ip"] == "198.51.100.7"
        assert bench.records[0].client_ip == "198.51.100.7"

    async def test_a_spoofed_forwarded_for_changes_nothing(self) -> None:
        answer = await Bench().request("GET", "/items/7", headers={"X-Forwarded-For": "127.0.0.1"})
        assert answer.json()["client_ip"] == "203.0.113.9"

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            (TRACEPARENT, True),
            (TRACEPARENT.upper(), False),
            (TRACEPARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32), False),
            (TRACEPARENT.replace("b7ad6b7169203331", "0" * 16), False),
            ("ff" + TRACEPARENT[2:], False),
            (TRACEPARENT + "-x", False),
        ],
    )
    async def test_only_a_valid_traceparent_is_taken(self, given: str, kept: bool) -> None:
        answer = await Bench().request("GET", "/items/7", headers={"traceparent": given})
        assert answer.json()["traceparent"] == (given if kept else None)

    async def test_the_context_is_gone_after_the_request(self) -> None:
        before = current_context()
        await Bench().raw({}, [])
        assert current_context() is before


class TestReports:
    @each_case(
        ("path", "route", "status"),
        [
            ("/items/7?secret=1", "/items/{item}", 200),
            ("/v1/deep/x", "/v1/deep/{thing}", 200),
            ("/nowhere/7", UNMATCHED, 404),
            ("/echo", "/echo", 405),
            ("/boom", "/boom", 500),
        ],
    )
    async def test_one_record_with_the_template(self, path: str, route: str, status: int) -> None:
        bench = Bench()
        answer = await bench.request("GET", path)
        (record,) = bench.records
        assert (record.method, record.route, record.status) == ("GET", route, status)
        assert record.size == len(answer.content)
        assert record.request_id == answer.headers["x-request-id"]

    async def test_the_duration_ends_with_the_last_byte(self) -> None:
        readings = iter([10.0, 10.5])
        bench = Bench(monotonic=lambda: next(readings))
        await bench.request("GET", "/background")
        assert bench.records[0].duration_s == 0.5
        assert bench.app.state.events == ["background"]

    async def test_an_invented_method_is_reported_as_other(self) -> None:
        bench = Bench()
        await bench.raw({"method": "BREW"}, [])
        assert bench.records[0].method == "OTHER"

    async def test_a_handler_whose_own_work_was_cancelled_is_answered(self) -> None:
        bench = Bench()
        assert_problem(await bench.request("GET", "/stray"), 500)
        assert bench.traffic.in_flight == 0

    async def test_a_cancelled_request_is_499_and_leaves_the_count(self) -> None:
        bench = Bench()
        task = asyncio.create_task(bench.raw({"path": "/wait"}, []))
        await bench.app.state.waiting.acquire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.records[0].status == 499
        assert bench.traffic.in_flight == 0

    async def test_a_client_that_leaves_while_sending_is_499_and_no_error(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bench = Bench()
        scope = {
            "method": "POST",
            "path": "/echo",
            "headers": [(b"content-length", b"50"), (b"content-type", b"application/json")],
        }
        await bench.raw(scope, [{"type": "http.request", "body": b"{", "more_body": True}])
        assert bench.records[0].status == 499
        assert bench.app.state.events == []
        assert "unexpected" not in capsys.readouterr().out


class TestBodyCap:
    async def test_a_body_within_the_cap_passes(self) -> None:
        bench = Bench()
        answer = await bench.request("POST", "/echo", json={"a": "x" * 80})
        assert answer.status_code == 200

    async def test_a_declared_length_over_the_cap_is_413_before_the_app(self) -> None:
        bench = Bench()
        answer = await bench.request(
            "POST", "/echo", content=b"x" * 101, headers={"content-type": "application/json"}
        )
        assert_problem(answer, 413)
        assert answer.headers["connection"] == "close"
        assert bench.app.state.events == []
        assert bench.records[0].status == 413

    @each_case("path", ["/echo", "/form", "/small", "/swallow"])
    async def test_an_undeclared_length_over_the_cap_is_413_wherever_it_is_read(self, path: str) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"name=xxxxx"

        bench = Bench()
        kind = "application/x-www-form-urlencoded" if path == "/form" else "application/json"
        answer = await bench.request("POST", path, content=chunks(), headers={"content-type": kind})
        assert_problem(answer, 413)
        assert bench.app.state.events == []

    async def test_the_gate_may_lower_the_cap_of_its_endpoint(self) -> None:
        bench = Bench()
        assert_problem(await bench.request("POST", "/small", content=b"x" * 11), 413)
        assert (await bench.request("POST", "/small", content=b"x" * 10)).json() == 10

    @each_case("length", [b"99999999999999999999999", b"9" * 5000])
    async def test_an_absurd_declared_length_is_413(self, length: bytes) -> None:
        sent = await Bench().raw(
            {"method": "POST", "path": "/echo", "headers": [(b"content-length", length)]}, []
        )
        assert sent[0]["status"] == 413

    async def test_a_declaration_that_lies_is_counted(self) -> None:
        scope = {"method": "POST", "path": "/echo", "headers": [(b"content-length", b"5")]}
        sent = await Bench().raw(scope, [{"type": "http.request", "body": b"x" * 500}])
        assert sent[0]["status"] == 413

    async def test_the_rest_of_a_refused_body_is_dropped_before_the_answer_ends(self) -> None:
        chunk: Message = {"type": "http.request", "body": b"x" * 60, "more_body": True}
        last = {"type": "http.request", "body": b"x", "more_body": False}
        scope = {"method": "POST", "path": "/echo", "headers": [(b"transfer-encoding", b"chunked")]}
        incoming: list[Message] = [chunk, chunk, chunk, last, {"type": "never read"}]
        sent = await Bench().raw(scope, incoming)
        assert [message.get("more_body", False) for message in sent[1:]] == [True, False]
        assert json.loads(sent[1]["body"])["status"] == 413

    async def test_a_client_that_waits_for_100_continue_is_answered_unread(self) -> None:
        headers = [(b"content-length", b"500"), (b"expect", b"100-continue")]
        sent = await Bench().raw(
            {"method": "POST", "path": "/echo", "headers": headers}, [{"type": "never read"}]
        )
        assert sent[0]["status"] == 413

    async def test_a_body_that_nobody_reads_does_no_harm(self) -> None:
        assert (await Bench().request("POST", "/ignore", content=b"x" * 50)).status_code == 200

    @each_case("path", ["/echo", "/form"])
    async def test_a_body_that_does_not_arrive_is_408_and_gives_its_place_back(self, path: str) -> None:
        bench = Bench(body_timeout_s=0.01)
        sent: list[Message] = []
        parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])

        async def receive() -> Message:
            for part in parts:
                return part
            await asyncio.Event().wait()
            raise AssertionError("the edge waits no longer than its budget")

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-length", b"50"), (b"content-type", CONTENT_TYPES[path])]
        async with asyncio.timeout(5):
            await bench.app(make_scope(method="POST", path=path, headers=headers), receive, send)
        assert sent[0]["status"] == 408
        assert (b"connection", b"close") in sent[0]["headers"]
        assert (b"content-type", b"application/problem+json") in sent[0]["headers"]
        assert bench.traffic.in_flight == 0

    async def test_a_negative_cap_is_refused_at_start(self) -> None:
        with pytest.raises(ValueError, match="max_body_bytes"):
            EdgeMiddleware(make_app(), traffic=TrafficControl(), max_body_bytes=-1)


class TestShedding:
    @each_case(
        ("state", "path", "status"),
        [
            ("starting", "/items/1", 503), ("starting", "/ready", 503), ("starting", "/metrics", 503), ("starting", "/live", 200),
            ("draining", "/items/1", 503), ("draining", "/ready", 200), ("draining", "/metrics", 200), ("draining", "/live", 200),
            ("full", "/items/1", 503), ("full", "/ready", 200), ("full", "/metrics", 200), ("full", "/live", 200),
            ("open", "/items/1", 200),
        ],
    )  # fmt: skip
    async def test_who_is_let_in(self, state: str, path: str, status: int) -> None:
        traffic = TrafficControl(max_in_flight=1)
        if state != "starting":
            traffic.pass_audit()
        if state == "draining":
            traffic.drain()
        if state == "full":
            traffic.in_flight = 1
        bench = Bench(traffic=traffic)
        answer = await bench.request("GET", path)
        assert answer.status_code == status
        if status == 503:
            assert_problem(answer, 503)
            assert (
                answer.json()["type"]
                == "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
            )
            assert answer.headers["retry-after"] in {"1", "2", "3"}
            assert bench.records[0].outcome == "shed"

    async def test_more_requests_than_the_cap_at_once_are_shed_and_then_taken_again(self) -> None:
        bench = Bench(traffic=TrafficControl(max_in_flight=2, audited=True))
        waiting = [asyncio.create_task(bench.raw({"path": "/wait"}, [])) for _ in range(2)]
        await bench.app.state.waiting.acquire()
        await bench.app.state.waiting.acquire()
        assert (await bench.request("GET", "/items/1")).status_code == 503
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (await bench.request("GET", "/items/1")).status_code == 200
        assert bench.traffic.shed == 1

    async def test_draining_before_the_audit_stays_closed(self) -> None:
        traffic = TrafficControl()
        traffic.drain()
        traffic.pass_audit()
        assert not traffic.is_open
        assert traffic.refusal("/items/1") == "draining"

    async def test_a_cap_below_one_is_refused_at_start(self) -> None:
        with pytest.raises(ValueError, match="max_in_flight"):
            TrafficControl(max_in_flight=0)


class TestUnexpectedErrors:
    async def test_is_a_500_problem_that_shows_nothing_and_a_log_that_shows_all(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bench = Bench()
        answer = await bench.request("GET", "/boom")
        assert_problem(answer, 500)
        assert "kaputt" not in answer.text
        printed = capsys.readouterr().out
        assert "http.unexpected_error" in printed
        assert "Traceback" in printed

    async def test_after_the_answer_began_the_server_is_told_to_cut(self) -> None:
        bench = Bench()
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        with pytest.raises(BrokenResponseError):
            await bench.app(make_scope(path="/half"), receive, send)
        assert sent[-1]["more_body"] is True
        assert (bench.records[0].status, bench.traffic.in_flight) == (500, 0)

    async def test_an_app_that_answers_nothing_is_a_500(self) -> None:
        async def silent(scope: Scope, receive: Any, send: Any) -> None:
            return

        records: list[RequestRecord] = []
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        edge = EdgeMiddleware(silent, traffic=TrafficControl(audited=True), report=records.append)
        await edge(make_scope(), send, send)  # type: ignore[arg-type]
        assert sent[0]["status"] == 500
        assert records[0].status == 500


class TestWebSockets:
    async def call(self, bench: Bench) -> list[Message]:
        return await bench.raw(
            {"type": "websocket", "path": "/ws", "subprotocols": []}, [{"type": "websocket.connect"}]
        )

    async def test_get_context_and_state(self) -> None:
        sent = await self.call(Bench())
        request_id, client_ip = json.loads(sent[1]["text"])
        assert UUID7.fullmatch(request_id)
        assert client_ip == "203.0.113.9"

    async def test_are_refused_while_the_app_takes_no_requests(self) -> None:
        assert await self.call(Bench(traffic=TrafficControl())) == [{"type": "websocket.close", "code": 1013}]
