"""Schemathesis against our own description: what it promises is what is answered, and nothing is ever a 5xx.

Seeded and bounded: the same cases in every run. To draw them costs more than to send them, so that an operation's cases are drawn
once and sent by everybody who asks for them.
"""

from collections.abc import AsyncIterator
from functools import cache
from typing import Any, cast

import httpx2
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.core.db import Database
from app.settings import Settings
from tests.sites import Site, whole_site

EXAMPLES = 40
# Not positive_data_acceptance: JSON Schema cannot say "not blank", "at most 16 KiB of JSON" or "no unpaired surrogate".
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
bounded = hypothesis_settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TOKEN, RECORD = ("POST", "/auth/token"), "/records/{record_id}"
USER = "/users/{user_id}"
REFRESH, LOGOUT = ("POST", "/auth/refresh"), ("POST", "/auth/logout")
TAKING_INPUT = [
    TOKEN,
    REFRESH,
    LOGOUT,
    ("GET", "/auth/sessions"),
    ("DELETE", "/auth/sessions/{session_id}"),
    ("POST", "/users"),
    ("GET", "/audit"),
    ("POST", "/records"),
    ("GET", "/records"),
    ("GET", RECORD),
    ("PATCH", RECORD),
    ("DELETE", RECORD),
    ("GET", "/external-data"),
    ("PUT", "/policies/{name}/switch"),
    ("PUT", "/policies/breakers/{dependency}"),
    ("POST", "/credits/grants"),
    ("GET", "/credits/ledger"),
]
OPERATIONS = [
    *TAKING_INPUT,
    ("GET", "/users/me"),
    ("GET", "/users"),
    ("GET", USER),
    ("PATCH", USER),
    ("DELETE", USER),
    ("PUT", USER + "/roles/{role}"),
    ("DELETE", USER + "/roles/{role}"),
    ("PUT", USER + "/scopes/{scope}"),
    ("DELETE", USER + "/scopes/{scope}"),
    ("POST", USER + "/sign-out"),
    ("GET", "/credits"),
    ("GET", "/policies"),
    ("GET", "/policies/breakers"),
    ("GET", "/health/db"),
    ("GET", "/live"),
    ("GET", "/ready"),
    ("GET", "/health"),
]


class Service:
    """A site, and what its description says may be sent to it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._schema = schemathesis.openapi.from_dict(site.app.openapi())
        self.cases = cache(self._cases)

    def _cases(self, method: str, path: str, mode: GenerationMode, existing: bool) -> list[Case[Any]]:
        """``EXAMPLES`` or more; with the record of the site if they are for an ``existing`` one."""
        drawn: list[Case[Any]] = []
        fixed: dict[str, Any] = {"path_parameters": {"record_id": str(self.site.record)}} if existing else {}

        @bounded
        @given(case=self._schema[path][method].as_strategy(generation_mode=mode, **fixed))
        def draw(case: Case[Any]) -> None:
            drawn.append(case)

        draw()
        return drawn

    async def send(self, case: Case[Any], headers: dict[str, str]) -> httpx2.Response:
        """The answer to one case, sent by a caller who has used nothing of his limits yet."""
        sent = requests.Request(**case.as_transport_kwargs(base_url="http://test", headers=headers)).prepare()
        request = httpx2.Request(
            sent.method or "",
            sent.url or "",
            headers=_raw(sent.headers),
            content=cast("bytes | str", sent.body or b""),
        )
        await self.site.platform.store.execute("FLUSHDB")
        return await self.site.client.send(request)


def _raw(headers: Any) -> list[tuple[bytes, bytes]]:
    def encoded(value: Any) -> bytes:
        return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")

    return [(encoded(name), encoded(value)) for name, value in headers.items()]


@pytest.fixture(scope="module")
async def service(postgres_url: str, valkey_url: str, database: Database) -> AsyncIterator[Service]:
    settings = Settings(
        _env_file=None,
        app_env="test",
        database_url=postgres_url,
        valkey_url=valkey_url,
        valkey_timeout_ms=2000,
    )
    async with whole_site(settings, database) as site:
        yield Service(site)


async def fuzz(
    service: Service,
    method: str,
    path: str,
    mode: GenerationMode,
    headers: dict[str, str],
    *,
    negative: bool = True,
    existing: bool = False,
) -> list[int]:
    """Send every case of the operation; the statuses that came back."""
    statuses: list[int] = []
    checks = [*CHECKS, negative_data_rejection] if negative and mode is GenerationMode.NEGATIVE else CHECKS
    for case in service.cases(method, path, mode, existing):
        answer = await service.send(case, headers)
        statuses.append(answer.status_code)
        case.validate_response(answer, checks=checks)
    return statuses


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_good_input_by_an_administrator_gets_what_is_described(
    service: Service, method: str, path: str
) -> None:
    statuses = await fuzz(service, method, path, GenerationMode.POSITIVE, service.site.bearer())
    known = {
        TOKEN: 401,
        REFRESH: 401,
        LOGOUT: 204,
        ("POST", "/records"): 201,
        ("POST", "/users"): 422,  # no drawn text is an address
        ("POST", "/credits/grants"): 404,
    }
    expected = known.get((method, path), 404 if "{" in path else 200)
    assert expected in statuses
    # Who has signed out everywhere is nobody from then on.
    assert set(statuses) <= {expected, 304, 400, 404, 409, 422} | (
        {401} if (method, path) == LOGOUT else set()
    )


@pytest.mark.parametrize(("method", "path"), [("GET", RECORD), ("PATCH", RECORD)])
async def test_a_record_that_exists_is_answered_as_described(
    service: Service, method: str, path: str
) -> None:
    statuses = await fuzz(
        service, method, path, GenerationMode.POSITIVE, service.site.bearer(), existing=True
    )
    assert 200 in statuses
    assert 404 not in statuses


@pytest.mark.parametrize(("method", "path"), TAKING_INPUT)
async def test_bad_input_by_an_administrator_is_refused_as_described(
    service: Service, method: str, path: str
) -> None:
    before = await service.site.rows()
    statuses = await fuzz(service, method, path, GenerationMode.NEGATIVE, service.site.bearer())
    assert len(statuses) >= EXAMPLES
    assert await service.site.rows() == before


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(
    ("method", "path"), [operation for operation in TAKING_INPUT if operation not in (TOKEN, REFRESH)]
)
async def test_whatever_nobody_sends_is_401(
    service: Service, method: str, path: str, mode: GenerationMode
) -> None:
    before = await service.site.rows()
    assert set(await fuzz(service, method, path, mode, {}, negative=False)) == {401}
    assert await service.site.rows() == before


def test_every_described_operation_is_fuzzed(service: Service) -> None:
    described = {
        (method.upper(), path)
        for path, operations in service.site.app.openapi()["paths"].items()
        for method in operations
    }
    assert described == set(OPERATIONS)


async def test_the_fuzzer_would_find_an_answer_that_is_not_described(service: Service) -> None:
    description = service.site.app.openapi()
    description = {
        **description,
        "paths": {"/records": {"post": {**description["paths"]["/records"]["post"], "responses": {}}}},
    }
    case = schemathesis.openapi.from_dict(description)["/records"]["POST"].Case(
        body={"name": "x"}, media_type="application/json"
    )
    answer = await service.send(case, {})
    with pytest.raises(FailureGroup, match="1 distinct failure"):
        case.validate_response(answer, checks=CHECKS)
