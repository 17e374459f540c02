"""Signed webhooks through the whole gate, on real servers."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.core.http import APIRouter, AuditError, api_worker, enforce_all_policies
from app.core.policies import (
    Idempotency,
    JobConfig,
    RateLimit,
    ResponseCache,
    WebhookSignature,
    shadowed,
)
from app.core.resilience import ManualClock
from app.core.security import WebhookKeys
from app.settings import Settings
from tests.core.http.gated import READER, as_, routed

pytestmark = pytest.mark.usefixtures("clean_store")

OLD, NEW = ("whsec_" + b64encode(letter * 32).decode() for letter in (b"o", b"n"))
STRANGER = "whsec_" + b64encode(b"s" * 32).decode()
NOW = 1_800_000_000
BODY = b'{"paid": 7}'
PER_IP = RateLimit.fixed_window("ip", limit=1000, window=60, scope="ip")


def headers(
    message_id: str = "msg_1", *, body: bytes = BODY, at: int = NOW, secret: str = OLD
) -> dict[str, str]:
    """What the sender puts on a message."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": WebhookKeys([secret]).sign(message_id, str(at), body),
        "content-type": "application/json",
    }


class Till:
    """An endpoint that a payment service calls; counts what it was told, and does what a test says."""

    def __init__(self, **options: Any) -> None:
        self.told = 0
        self.outcome: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.started = asyncio.Event()
        self.clock = ManualClock(start=NOW)
        self.router = APIRouter()
        config = JobConfig.public(
            rate_limit=PER_IP, webhook=WebhookSignature(source="payments", **options), max_body=1000
        )
        gate = enforce_all_policies("payments_post", config)

        @self.router.post("/payments", dependencies=[gate])
        @api_worker(config)
        async def paid(note: dict[str, int]) -> dict[str, int]:
            return await self._take(note)

        @self.router.post("/refunds", dependencies=[gate])
        @api_worker(config)
        async def refunded(note: dict[str, int]) -> dict[str, int]:
            return await self._take(note)

    async def _take(self, note: dict[str, int]) -> dict[str, int]:
        self.started.set()
        await self.go_on.wait()
        if self.outcome is not None:
            raise self.outcome
        self.told += 1
        return {**note, "told": self.told}

    @asynccontextmanager
    async def open(self, settings: Settings, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
        secrets = {"payments": SecretStr(f"{NEW}, {OLD}"), "Others": SecretStr(STRANGER)}
        settings = settings.model_copy(update={"webhook_secrets": secrets, **changes})

        def stand_still(app: FastAPI) -> None:
            app.state.gatehouse.clock = self.clock

        async with routed(settings, self.router, change=stand_still) as client:
            yield client


async def sent(client: httpx2.AsyncClient, fields: Mapping[str, str], body: bytes = BODY) -> httpx2.Response:
    return await client.post("/payments", content=body, headers=fields)


class TestSignature:
    async def test_a_message_is_taken_when_its_sender_signed_it_just_now(self, settings: Settings) -> None:
        till = Till()
        async with till.open(settings) as client:
            ways = ((OLD, NOW), (NEW, NOW), (OLD, NOW - 300), (OLD, NOW + 300))
            for number, (secret, at) in enumerate(ways, start=1):
                answer = await sent(client, headers(f"msg_{number}", secret=secret, at=at))
                assert (answer.status_code, answer.json()) == (200, {"paid": 7, "told": number})

    async def test_everything_else_is_401_with_its_reason_and_reaches_nobody(
        self, settings: Settings
    ) -> None:
        till, good = Till(), headers()
        cases: list[tuple[str, Mapping[str, str] | list[tuple[str, str]], bytes]] = [
            *(
                ("missing", {name: value for name, value in good.items() if name != absent}, BODY)
                for absent in good
                if absent.startswith("webhook-")
            ),
            ("signature", headers(secret=STRANGER), BODY),
            ("signature", good, BODY + b" "),
            ("signature", good, b""),
            ("signature", {**good, "webhook-id": "msg_2"}, BODY),
            ("signature", {**good, "webhook-timestamp": str(NOW - 1)}, BODY),
            ("signature", {**good, "webhook-signature": "v1,"}, BODY),
            ("too_old", headers(at=NOW - 301), BODY),
            ("too_new", headers(at=NOW + 301), BODY),
            ("malformed", [*good.items(), ("webhook-id", "msg_1")], BODY),
            *(
                ("malformed", {**good, "webhook-timestamp": time}, BODY)
                for time in ("", "0", "-1", "1.5", "1e9", "0x10", " ", "9" * 13, "soon")
            ),
            ("malformed", {**good, "webhook-id": "x" * 256}, BODY),
            ("malformed", {**good, "webhook-id": "a b"}, BODY),
            ("malformed", {**good, "webhook-id": "a.b"}, BODY),
            ("malformed", {**good, "webhook-signature": "v1," + "A" * 4096}, BODY),
        ]
        async with till.open(settings) as client:
            for reason, fields, body in cases:
                answer = await client.post("/payments", content=body, headers=fields)
                assert (answer.status_code, answer.json()["reason"]) == (401, reason), fields
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["www-authenticate"] == "Webhook-Signature"
        assert till.told == 0

    async def test_bad_signatures_are_counted_per_network(self, settings: Settings) -> None:
        till = Till()
        login = settings.login.model_copy(update={"failed_auth_per_ip": 3})
        async with till.open(settings, login=login) as client:
            statuses = [(await sent(client, headers(secret=STRANGER))).status_code for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]

    async def test_a_body_that_is_too_long_is_413_before_it_is_hashed(self, settings: Settings) -> None:
        till, body = Till(), b'"' + b"x" * 1000 + b'"'
        async with till.open(settings) as client:
            assert (await sent(client, headers(body=body), body)).status_code == 413
        assert till.told == 0


class TestReplay:
    @pytest.mark.parametrize(
        ("durability", "clustered"), [("valkey", False), ("valkey", True), ("db", False)]
    )
    @pytest.mark.usefixtures("clean_database")
    async def test_a_message_that_comes_again_gets_the_same_answer_and_is_not_worked_on(
        self, settings: Settings, durability: str, clustered: bool
    ) -> None:
        till = Till(durability=durability)
        async with till.open(settings, valkey_clustered=clustered) as client:
            first = await sent(client, headers())
            till.clock.advance(60)
            again = [await sent(client, headers()), await sent(client, headers(at=NOW + 60, secret=NEW))]
        assert [answer.content for answer in again] == [first.content] * 2
        assert [answer.headers.get("idempotent-replayed") for answer in (first, *again)] == [
            None,
            "true",
            "true",
        ]
        assert till.told == 1

    async def test_a_recorded_message_is_old_before_it_is_forgotten(self, settings: Settings) -> None:
        till = Till(retention=600.0)
        async with till.open(settings) as client:
            await sent(client, headers())
            till.clock.advance(301)
            assert (await sent(client, headers())).json()["reason"] == "too_old"
        with pytest.raises(ValueError, match="retention must be 600"):
            WebhookSignature(source="payments", retention=599.0)

    async def test_of_many_at_once_one_is_worked_on_and_the_others_are_in_flight(
        self, settings: Settings
    ) -> None:
        till = Till()
        till.go_on.clear()
        async with till.open(settings) as client:
            first = asyncio.create_task(sent(client, headers()))
            await till.started.wait()
            others = await asyncio.gather(*(sent(client, headers()) for _ in range(20)))
            till.go_on.set()
            assert (await first).status_code == 200
        assert {answer.status_code for answer in others} == {409}
        assert others[0].json()["detail"] == "A request with this webhook-id is being worked on."
        assert int(others[0].headers["retry-after"]) >= 1
        assert till.told == 1

    async def test_a_replay_from_another_network_or_to_another_route_is_no_new_message(
        self, settings: Settings
    ) -> None:
        till = Till()
        async with till.open(settings) as client:
            await sent(client, headers())
            app = client._transport.app  # type: ignore[attr-defined]
            transport = httpx2.ASGITransport(app, client=("198.51.100.9", 1))
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as thief:
                stolen = await sent(thief, headers())
                elsewhere = await thief.post("/refunds", content=BODY, headers=headers())
        assert stolen.headers["idempotent-replayed"] == "true"
        assert elsewhere.status_code == 422
        assert till.told == 1

    async def test_an_id_under_another_body_is_422(self, settings: Settings) -> None:
        till, other = Till(), b'{"paid": 8}'
        async with till.open(settings) as client:
            await sent(client, headers())
            answer = await sent(client, headers(body=other), other)
        assert (answer.status_code, answer.json()["detail"]) == (
            422, "This webhook-id belongs to another request.",
        )  # fmt: skip

    async def test_after_a_failure_the_senders_next_try_is_worked_on(self, settings: Settings) -> None:
        till = Till()
        till.outcome = RuntimeError("no")
        async with till.open(settings) as client:
            assert (await sent(client, headers())).status_code == 500
            till.outcome = None
            assert (await sent(client, headers(at=NOW + 5))).json()["told"] == 1

    async def test_without_the_store_nothing_is_taken(self, settings: Settings) -> None:
        till = Till()
        away = SecretStr("valkey://127.0.0.1:1/0")
        async with till.open(settings, valkey_url=away) as client:
            answer = await sent(client, headers())
            assert (answer.status_code, answer.json()["reason"]) == (503, "store_unavailable")
        assert till.told == 0


class TestDeclared:
    async def test_a_source_without_a_secret_stops_the_start(self, settings: Settings) -> None:
        till = Till()
        with pytest.raises(AuditError, match="takes webhooks of payments and there is no secret of it"):
            async with till.open(settings, webhook_secrets={}):
                pass

    async def test_it_may_stand_beside_a_token(self, settings: Settings) -> None:
        router, clock = APIRouter(), ManualClock(start=NOW)
        config = JobConfig(webhook=WebhookSignature(source="payments"))

        @router.post("/both", dependencies=[enforce_all_policies("both", config)])
        @api_worker(config)
        async def both() -> str:
            return "both"

        secrets = {"webhook_secrets": {"payments": SecretStr(OLD)}}
        async with routed(
            settings.model_copy(update=secrets),
            router,
            change=lambda app: setattr(app.state.gatehouse, "clock", clock),
        ) as client:
            signed = headers(body=b"")
            without = await client.post("/both", headers=signed)
            unsigned = await client.post("/both", headers=as_(READER))
            good = await client.post("/both", headers=signed | as_(READER))
        assert [without.status_code, unsigned.status_code, good.status_code] == [401, 401, 200]
        assert without.headers["www-authenticate"] == "Bearer"

    async def test_openapi_names_its_fields_and_answers(self, settings: Settings) -> None:
        async with Till().open(settings) as client:
            operation = (await client.get("/openapi.json")).json()["paths"]["/payments"]["post"]
        required = {field["name"] for field in operation["parameters"] if field["required"]}
        assert required == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        assert {"200", "401", "409", "413", "422", "429", "503"} <= operation["responses"].keys()
        assert operation["x-policy"]["webhook"]["source"] == "payments"

    @pytest.mark.parametrize("part", [{"idempotency": Idempotency()}, {"cache": ResponseCache(ttl=1)}])
    def test_what_it_cannot_stand_beside_is_refused(self, part: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=f"drop {next(iter(part))}"):
            JobConfig(webhook=WebhookSignature(source="payments"), **part)

    def test_a_set_that_a_cluster_could_not_decide_in_one_step_names_it(self) -> None:
        assert JobConfig(webhook=WebhookSignature(source="payments"), atomic=True).outside_slot == (
            "webhook",
        )

    def test_in_shadow_it_is_in_force_all_the_same(self) -> None:
        config = JobConfig.public(webhook=WebhookSignature(source="payments"), shadow=True)
        assert shadowed(config).webhook == config.webhook

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"source": "Pay ments"}, "source must match"),
            ({"source": "p", "tolerance": 0}, "tolerance must be 1 to"),
            ({"source": "p", "tolerance": 3601}, "tolerance must be 1 to"),
            ({"source": "p", "durability": "disk"}, "durability must be one of"),
        ],
    )
    def test_options_out_of_range_are_refused(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            WebhookSignature(**options)
