"""``encryption=Encryption(...)``: named fields are tokens outside and plain for the handler alone, in what is kept too."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi import Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pydantic import BaseModel

from app.core import APIRouter, api_worker, enforce_all_policies
from app.core.errors import ConfigurationError
from app.core.http._field_encryption import _changed, _closer, _field, _Opening
from app.core.policies import Encryption, Idempotency, JobConfig, RateLimit, ResponseCache
from app.core.security import DataEncryptor
from app.main import create_app
from app.settings import Settings
from tests.apps import running
from tests.core.http.gated import READER, as_, feature, routed
from tests.core.http.workshop import LONG, Workshop

unhurried = limits(deadline=None)  # a busy machine is no failure
pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
KEY = "the key of field tests, thirty-two bytes or more"
CIPHER = DataEncryptor([KEY])
FIELDS = Encryption(response=("ssn", "visits.cause"), request=("ssn", "visits.cause"))
PATIENT = {"name": "Ann", "ssn": "078-05-1120", "visits": [{"cause": "measles"}, {"cause": None}, {}]}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=15,
)
Make = Callable[..., Settings]


class Visit(BaseModel):
    cause: str | None = None


class Patient(BaseModel):
    name: str
    ssn: str | int | None = None
    visits: list[Visit] = []


class Ward:
    """``POST /patients`` keeps what its handler got and answers with it."""

    def __init__(self, encryption: Encryption = FIELDS, **options: Any) -> None:
        self.got: list[Patient] = []
        self.answer: Any = None
        self.router = APIRouter()
        config = JobConfig(encryption=encryption, **{"rate_limit": None, **options})

        @self.router.post("/patients", dependencies=[enforce_all_policies("patients", config)])
        @api_worker(config)
        async def admit(patient: Patient) -> Any:
            self.got.append(patient)
            return patient.model_dump(exclude_unset=True) if self.answer is None else self.answer


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(encryption_keys=[KEY])


def token(field: str, value: Any) -> str:
    return CIPHER.for_purpose(f"field {field}").encrypt(json.dumps(value))


def said(field: str, value: str) -> Any:
    return json.loads(CIPHER.for_purpose(f"field {field}").decrypt(value))


def sealed(ssn: Any = "078-05-1120") -> dict[str, Any]:
    visits = [{"cause": token("cause", "measles")}, {"cause": None}, {}]
    return {"name": "Ann", "ssn": token("ssn", ssn), "visits": visits}


async def post(client: httpx2.AsyncClient, body: Any, **headers: str) -> httpx2.Response:
    return await client.post("/patients", json=body, headers={**as_(READER), **headers})


class TestRoundTrip:
    async def test_the_handler_gets_what_tokens_say_and_the_caller_gets_tokens(
        self, settings: Settings
    ) -> None:
        ward = Ward()
        async with routed(settings, ward.router) as client:
            answer = await post(client, sealed())
            again = await post(client, answer.json())
        assert (answer.status_code, again.status_code) == (200, 200)
        assert [patient.model_dump(exclude_unset=True) for patient in ward.got] == [PATIENT, PATIENT]
        body = answer.json()
        assert (body["name"], said("ssn", body["ssn"])) == ("Ann", "078-05-1120")
        assert said("cause", body["visits"][0]["cause"]) == "measles"
        assert body["visits"][1:] == [{"cause": None}, {}]
        assert b"078-05" not in answer.content
        assert b"measles" not in answer.content
        assert int(answer.headers["content-length"]) == len(answer.content)

    async def test_a_value_keeps_its_type(self, settings: Settings) -> None:
        ward = Ward()
        async with routed(settings, ward.router) as client:
            answer = await post(client, sealed(7))
        assert ward.got[0].ssn == 7
        assert said("ssn", answer.json()["ssn"]) == 7

    @unhurried
    @given(value=JSON_VALUES)
    def test_every_document_comes_back(self, value: Any) -> None:
        field = _field("a.b", CIPHER)
        closed = _changed(value, field.parts, _closer(field))
        assert _changed(closed, field.parts, _Opening().of(field)) == value


class TestRefusal:
    @pytest.mark.parametrize("claimed", [False, True])
    @pytest.mark.parametrize(
        "ssn",
        ["078-05-1120", 7, ["x"], {"a": "b"}, token("cause", "x"), token("ssn", "x")[:-1], ""],
        ids=["plain", "number", "list", "object", "another_fields", "cut", "empty"],
    )
    async def test_what_is_no_token_of_this_field_is_422_and_named(
        self, settings: Settings, ssn: Any, *, claimed: bool
    ) -> None:
        ward = Ward(idempotency=Idempotency()) if claimed else Ward()
        async with routed(settings, ward.router) as client:
            answer = await post(client, {"name": "Ann", "ssn": ssn}, **{"Idempotency-Key": "k"})
            better = await post(client, {"name": "Ann"}, **{"Idempotency-Key": "k"})
        assert (answer.status_code, better.status_code) == (422, 200)  # what ADMIT took was given back
        assert answer.json()["errors"][0]["loc"] == ["body", "ssn"]
        assert len(ward.got) == 1

    async def test_a_place_in_a_list_is_refused_too(self, settings: Settings) -> None:
        async with routed(settings, Ward().router) as client:
            answer = await post(client, {"name": "Ann", "visits": [{"cause": "measles"}]})
        assert answer.status_code == 422
        assert "visits.cause" in answer.json()["detail"]

    async def test_too_many_are_refused(self, settings: Settings) -> None:
        visits = [{"cause": token("cause", "x")}] * 1001
        async with routed(settings, Ward().router) as client:
            assert (await post(client, {"name": "Ann", "visits": visits[:1000]})).status_code == 200
            answer = await post(client, {"name": "Ann", "visits": visits})
        assert (answer.status_code, "1000" in answer.json()["detail"]) == (422, True)

    @pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"7", b"[]", b'{"visits": 7}'])
    async def test_what_is_no_json_and_no_object_is_refused_as_ever(
        self, settings: Settings, body: bytes
    ) -> None:
        headers = {**as_(READER), "Content-Type": "application/json"}
        async with routed(settings, Ward().router) as client:
            assert (await client.post("/patients", content=body, headers=headers)).status_code in {400, 422}

    async def test_a_body_over_the_cap_is_413(self, settings: Settings) -> None:
        async with routed(settings, Ward(max_body=100).router) as client:
            assert (await post(client, {"name": "A" * 200})).status_code == 413


class TestAnswers:
    async def test_one_that_the_handler_built_is_encrypted_too(self, settings: Settings) -> None:
        ward = Ward()
        ward.answer = JSONResponse([{"ssn": "078-05-1120"}], 409)
        async with routed(settings, ward.router) as client:
            answer = await post(client, {"name": "Ann"})
        assert answer.status_code == 409
        assert said("ssn", answer.json()[0]["ssn"]) == "078-05-1120"

    async def test_one_that_is_no_json_stays(self, settings: Settings) -> None:
        ward = Ward()
        ward.answer = PlainTextResponse("ssn")
        async with routed(settings, ward.router) as client:
            assert (await post(client, {"name": "Ann"})).text == "ssn"

    @pytest.mark.parametrize(
        "answer",
        [
            StreamingResponse(iter([b'{"ssn": "078-05-1120"}']), media_type="application/json"),
            StreamingResponse(iter([b'data: {"ssn": "078-05-1120"}']), media_type="text/event-stream"),
            FileResponse(__file__),
            Response(b'{"ssn": "078-05-1120"', media_type="application/json"),
            Response(
                b'{"ssn": "078-05-1120"}', media_type="application/json", headers={"Content-Encoding": "gzip"}
            ),
        ],
    )
    async def test_one_that_cannot_be_encrypted_is_not_sent(self, settings: Settings, answer: Any) -> None:
        ward = Ward()
        ward.answer = answer
        async with routed(settings, ward.router) as client:
            refused = await post(client, {"name": "Ann"})
        assert refused.status_code == 500
        assert "078-05" not in refused.text

    async def test_a_replay_and_a_hit_are_the_same_tokens(self, settings: Settings) -> None:
        ward = Ward(idempotency=Idempotency())
        async with routed(settings, ward.router) as client:
            body = sealed()
            first, again = [await post(client, body, **{"Idempotency-Key": "l"}) for _ in range(2)]
        assert first.content == again.content
        assert (again.headers["Idempotent-Replayed"], len(ward.got)) == ("true", 1)
        shop = Workshop(
            JobConfig(rate_limit=None, cache=ResponseCache(ttl=60), encryption=Encryption(response=("ssn",)))
        )
        shop.outcome = lambda: {"ssn": "078-05-1120"}
        async with shop.open(settings):
            first, again = await shop.get(), await shop.get()
        assert first.content == again.content
        assert (said("ssn", again.json()["ssn"]), shop.runs) == ("078-05-1120", 1)


class TestStart:
    async def test_a_stream_is_refused(self, settings: Settings) -> None:
        router, config = APIRouter(), JobConfig(encryption=FIELDS)

        @router.get("/stream", dependencies=[enforce_all_policies("stream", config)])
        @api_worker(config)
        async def stream() -> StreamingResponse:
            raise AssertionError

        with pytest.raises(ConfigurationError, match="its gate stream encrypts fields"):
            async with running(create_app(settings, registry=[feature(router)])):
                pass

    async def test_the_documentation_tells_of_it(self, settings: Settings) -> None:
        async with routed(settings, Ward().router) as client:
            document = (await client.get("/openapi.json")).json()
        operation = document["paths"]["/patients"]["post"]
        fields = ["ssn", "visits.cause"]
        assert operation["x-policy"]["encryption"] == {"response": fields, "request": fields}

    def test_without_it_nothing_is_made_for_a_gate(self) -> None:
        assert JobConfig().encrypted_fields is None
        assert JobConfig(encryption=True).encrypted_fields is None
        assert JobConfig(encryption=FIELDS).encrypted_fields is FIELDS


async def test_limits_are_charged_once(settings: Settings) -> None:
    ward = Ward(rate_limit=RateLimit.fixed_window("user", limit=2, window=LONG))
    async with routed(settings, ward.router) as client:
        found = [(await post(client, sealed())).status_code for _ in range(3)]
    assert found == [200, 200, 429]
