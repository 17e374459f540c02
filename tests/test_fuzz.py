"""Schemathesis against our own description: what it promises is what is answered, and nothing is ever a 5xx.

Seeded and bounded: the same cases in every run. To draw them costs more than to send them, so that an operation's cases are drawn
once and sent by everybody who asks for them.
"""

from collections.abc import AsyncIterator
from functools import cache
from typing import Any, NamedTuple, cast
from uuid import uuid4

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

EXAMPLES = 12
# Not positive_data_acceptance: JSON Schema cannot say "not blank", "at most 16 KiB of JSON" or "no unpaired surrogate".
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
UNSECURED = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
bounded = hypothesis_settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Operation(NamedTuple):
    """One operation of the description. ``good``: what good input by an administrator gets; others are refusals of input. ``takes``: it
    takes input that can be bad. ``public``: it asks nobody who he is. ``rights``: it wants a scope or a role; ``some``: for some input
    only.
    """

    method: str
    path: str
    good: int = 200
    takes: bool = True
    public: bool = False
    rights: bool = True
    some: bool = False


RECORD, KEY, USER = "/records/{record_id}", "/api-keys/{key_id}", "/users/{user_id}"
JOB = "/jobs/{job_id}"
WEBHOOK = "/webhooks/{webhook_id}"
OPERATIONS = (
    Operation("POST", "/auth/token", good=401, public=True),
    Operation("POST", "/auth/refresh", good=401, public=True),
    Operation("POST", "/auth/logout", good=204, rights=False),
    Operation("GET", "/auth/sessions", rights=False),
    Operation("DELETE", "/auth/sessions/{session_id}", good=404, rights=False),
    # The tokens of these tests belong to no session.
    Operation("GET", "/auth/mfa", takes=False, rights=False),
    Operation("DELETE", "/auth/mfa", good=404, takes=False, rights=False),
    Operation("POST", "/auth/mfa/enrolment", good=404, takes=False, rights=False),
    Operation("POST", "/auth/mfa/enrolment/confirm", good=404, rights=False),
    Operation("POST", "/auth/mfa/recovery-codes", good=404, takes=False, rights=False),
    Operation("POST", "/auth/mfa/step-up", good=404, rights=False),
    Operation("POST", "/auth/mfa/token", good=401, public=True),
    Operation("POST", "/auth/password-reset", good=202, public=True),
    Operation("POST", "/auth/password-reset/confirm", good=400, public=True),
    Operation("POST", "/auth/email-verification", good=202, takes=False, rights=False),
    Operation("POST", "/auth/email-verification/confirm", good=400, public=True),
    Operation("POST", "/auth/register", good=404, public=True),
    Operation("POST", "/auth/register/confirm", good=404, public=True),
    Operation("GET", "/.well-known/jwks.json", takes=False, public=True),
    Operation("GET", "/users/me", takes=False, rights=False),
    Operation("POST", "/users/me/password", good=400, rights=False),
    Operation("POST", "/users/me/email", good=422, rights=False),
    Operation("GET", "/users"),
    Operation("POST", "/users", good=422),  # no drawn text is an address
    Operation("GET", USER, good=404),
    Operation("PATCH", USER, good=404),
    Operation("DELETE", USER, good=404),
    Operation("PUT", USER + "/roles/{role}", good=404),
    Operation("DELETE", USER + "/roles/{role}", good=404),
    Operation("PUT", USER + "/scopes/{scope}", good=404),
    Operation("DELETE", USER + "/scopes/{scope}", good=404),
    Operation("POST", USER + "/sign-out", good=404),
    Operation("GET", "/audit"),
    Operation("POST", "/api-keys", good=201, rights=False),
    Operation("GET", "/api-keys", rights=False),
    Operation("POST", "/webhooks", good=422, rights=False),  # no drawn text is a URL
    Operation("GET", "/webhooks", takes=False, rights=False),
    Operation("DELETE", WEBHOOK, good=404, rights=False),
    Operation("POST", WEBHOOK + "/rotate", good=404, rights=False),
    Operation("GET", WEBHOOK + "/deliveries", good=404, rights=False),
    Operation("POST", WEBHOOK + "/test", good=404, rights=False),
    Operation("POST", "/webhooks/deliveries/{delivery_id}/retry", good=404, rights=False),
    Operation("GET", KEY, good=404, rights=False),
    Operation("DELETE", KEY, good=404, rights=False),
    Operation("POST", KEY + "/rotate", good=404, rights=False),
    Operation("POST", "/records", good=201),
    Operation("GET", "/records"),
    Operation("GET", RECORD, good=404),
    Operation("PATCH", RECORD, good=404),
    Operation("DELETE", RECORD, good=404),
    Operation("POST", "/heavy-calc", good=202),
    Operation("GET", "/jobs", rights=False, some=True),
    Operation("GET", JOB, good=404, rights=False),
    Operation("GET", JOB + "/events", good=404, rights=False),
    Operation("POST", JOB + "/cancel", good=404, rights=False),
    Operation("POST", JOB + "/retry", good=404, rights=False),
    Operation("GET", "/external-data"),
    Operation("GET", "/db-monitor/performance", takes=False),
    Operation("GET", "/db-monitor/connections", takes=False),
    Operation("GET", "/db-monitor/n-plus-one", takes=False),
    Operation("POST", "/db-monitor/analyze-query", good=422),
    Operation("GET", "/db-monitor/locks", takes=False),
    Operation("GET", "/db-monitor/replication", takes=False),
    Operation("GET", "/db-monitor/maintenance", takes=False),
    Operation("GET", "/db-monitor/settings", takes=False),
    Operation("GET", "/db-monitor/cache", takes=False),
    Operation("GET", "/db-monitor/indexes"),
    Operation("GET", "/db-monitor/indexes/suggested", takes=False),
    Operation("GET", "/db-monitor/tables"),
    Operation("GET", "/db-monitor/table-stats/{table_name}", good=404),
    Operation("GET", "/db-monitor/slow-queries"),
    Operation("GET", "/db-monitor/slow-queries/{queryid}", good=404),
    Operation("POST", "/db-monitor/optimize-query", good=422),
    Operation("GET", "/policies", takes=False),
    Operation("GET", "/policies/breakers", takes=False),
    Operation("PUT", "/policies/{name}/switch", good=404),
    Operation("PUT", "/policies/breakers/{dependency}", good=404),
    Operation("GET", "/credits", takes=False),
    Operation("GET", "/credits/ledger"),
    Operation("POST", "/credits/grants", good=404),
    Operation("GET", "/health/db", takes=False, public=True),
    Operation("GET", "/live", takes=False, public=True),
    Operation("GET", "/ready", takes=False, public=True),
    Operation("GET", "/health", takes=False, public=True),
)
REFUSED = {304, 400, 404, 409, 422}
ENDS_THE_CALLER = {("POST", "/auth/logout")}


class Service:
    """A site, and what its description says may be sent to it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        # Credentials are what the tests send; one that is drawn beside them would be a second one, and 400.
        self._schema = schemathesis.openapi.from_dict(site.app.openapi(), config=UNSECURED)
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
        policy_variables={"POLICIES__HEAVY_CALC__RATE_LIMIT__USER__MAX_TOKENS": "1000"},
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


# One test an operation, not one for each kind of caller: whoever draws its cases must be the one who sends them.
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
async def test_whoever_sends_whatever_is_answered_as_described(
    service: Service, operation: Operation
) -> None:
    site = service.site
    await good_input_by_an_administrator(service, operation)
    before = await site.rows()
    if not operation.public:
        await input_by_somebody_without_rights(service, operation)
    if operation.takes:
        await bad_input_by_an_administrator(service, operation)
        if not operation.public:
            await input_by_nobody(service, operation)
    assert await site.rows() == before


async def good_input_by_an_administrator(service: Service, operation: Operation) -> None:
    method, path, good, *_ = operation
    statuses = await fuzz(service, method, path, GenerationMode.POSITIVE, service.site.bearer())
    assert good in statuses
    # Who has signed out everywhere is nobody from then on.
    assert set(statuses) <= {good} | REFUSED | ({401} if (method, path) in ENDS_THE_CALLER else set())


async def bad_input_by_an_administrator(service: Service, operation: Operation) -> None:
    method, path, *_ = operation
    statuses = await fuzz(service, method, path, GenerationMode.NEGATIVE, service.site.bearer())
    assert len(statuses) >= EXAMPLES


async def input_by_somebody_without_rights(service: Service, operation: Operation) -> None:
    """A user who has no scope and no role gets 403 wherever one is needed, and otherwise what everybody gets."""
    method, path, good, *_ = operation
    user = service.site.bearer(scopes=(), roles=(), user=uuid4())
    statuses = await fuzz(service, method, path, GenerationMode.POSITIVE, user)
    expected = {403} if operation.rights else {401, good} | REFUSED | ({403} if operation.some else set())
    assert set(statuses) <= expected


async def input_by_nobody(service: Service, operation: Operation) -> None:
    method, path, *_ = operation
    for mode in GenerationMode:
        statuses = set(await fuzz(service, method, path, mode, {}, negative=False))
        # What is no id is no path of these, for nobody and everybody.
        assert statuses <= ({401, 404, 405} if path.startswith(USER) else {401})


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_a_record_that_exists_is_answered_as_described(service: Service, method: str) -> None:
    statuses = await fuzz(
        service, method, RECORD, GenerationMode.POSITIVE, service.site.bearer(), existing=True
    )
    assert 200 in statuses
    assert 404 not in statuses


def test_every_described_operation_is_fuzzed(service: Service) -> None:
    described = {
        (method.upper(), path)
        for path, operations in service.site.app.openapi()["paths"].items()
        for method in operations
    }
    assert described == {(operation.method, operation.path) for operation in OPERATIONS}


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
