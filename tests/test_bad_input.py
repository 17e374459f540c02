"""Whatever is sent to whichever endpoint: a problem document, never a 5xx that is not documented, nothing half-written."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest

from app.core.db import Database
from app.settings import Settings
from tests.cases import each_case
from tests.sites import Site, strict, whole_site

DEAD = "127.0.0.1:1"
NOBODY = "00000000-0000-0000-0000-000000000000"
FORM = {"username": "nobody@example.com", "password": "some password"}
MFA = {"mfa_token": "mfa_of_nobody", "code": "123456"}
REFRESH = {"refresh_token": "rt_of_nobody"}
CHANGE = {"current_password": "some password", "new_password": "another long passphrase"}
WHO, MOVE = (
    {"email": "nobody@example.com"},
    {"email": "nobody@example.com", "current_password": "some password"},
)
TOKEN_ONLY = {"token": "et_of_nobody"}
LINK = {**TOKEN_ONLY, "new_password": "another long passphrase"}
JOIN = {**TOKEN_ONLY, "password": "another long passphrase"}


class Endpoint(NamedTuple):
    """One operation; ``json`` or ``form`` is a body that it would take, ``key`` says that it wants an ``Idempotency-Key``,
    ``query`` what it needs after the path, ``status`` is that of a good request without a body, ``closed`` the policy that is 503 without
    the store; ``cap`` the bytes that its body may have; ``missing``: 404, because the tokens of these tests belong to no session, or
    because there is no such user or thing.
    """

    method: str
    path: str
    json: dict[str, Any] | None = None
    form: dict[str, str] | None = None
    scope: str | None = None
    role: str | None = None
    public: bool = False
    needs_database: bool = True
    key: bool = False
    query: str = ""
    closed: str | None = None
    missing: bool = False
    status: int = 200
    cap: int = 65_536


GATED = (
    Endpoint("POST", "/auth/token", form=FORM, public=True, closed="auth_token"),
    Endpoint("GET", "/users/me"),
    Endpoint("GET", "/.well-known/jwks.json", public=True, needs_database=False),
    Endpoint("POST", "/auth/refresh", form=REFRESH, public=True, closed="auth_refresh"),
    Endpoint("POST", "/auth/logout", missing=True),
    Endpoint("GET", "/auth/sessions"),
    Endpoint("DELETE", "/auth/sessions/{session_id}", missing=True),
    Endpoint("POST", "/users/me/password", json=CHANGE, closed="users_me_password"),
    Endpoint("POST", "/auth/password-reset", json=WHO, public=True, needs_database=False, closed="auth_password_reset"),
    Endpoint("POST", "/auth/password-reset/confirm", json=LINK, public=True, closed="auth_password_reset_confirm"),
    Endpoint("POST", "/auth/email-verification", closed="auth_email_verification", status=202),
    Endpoint("POST", "/auth/email-verification/confirm", json=TOKEN_ONLY, public=True, closed="auth_email_verification_confirm"),
    Endpoint("POST", "/users/me/email", json=MOVE, closed="users_me_email"),
    Endpoint("POST", "/auth/register", json=WHO, public=True, needs_database=False, closed="auth_register"),
    Endpoint("POST", "/auth/register/confirm", json=JOIN, public=True, needs_database=False, closed="auth_register_confirm"),
    Endpoint("GET", "/users", scope="read:users", role="admin"),
    Endpoint("POST", "/users", json={"email": "new@example.com", "password": "correct horse battery"}, scope="write:users", role="admin",
             closed="users_create"),
    Endpoint("GET", "/users/{user_id}", scope="read:users", role="admin", missing=True),
    Endpoint("PATCH", "/users/{user_id}", json={"is_active": True}, scope="write:users", role="admin", closed="users_change", missing=True),
    Endpoint("DELETE", "/users/{user_id}", scope="write:users", role="admin", closed="users_delete", missing=True),
    Endpoint("PUT", "/users/{user_id}/roles/{role}", scope="write:users", role="admin", closed="users_role_give", missing=True),
    Endpoint("DELETE", "/users/{user_id}/roles/{role}", scope="write:users", role="admin", closed="users_role_take", missing=True),
    Endpoint("PUT", "/users/{user_id}/scopes/{scope}", scope="write:users", role="admin", closed="users_scope_give", missing=True),
    Endpoint("DELETE", "/users/{user_id}/scopes/{scope}", scope="write:users", role="admin", closed="users_scope_take", missing=True),
    Endpoint("POST", "/users/{user_id}/sign-out", scope="write:users", role="admin", closed="users_sign_out", missing=True),
    Endpoint("GET", "/audit", scope="read:audit", role="admin"),
    Endpoint("GET", "/auth/mfa"),
    Endpoint("DELETE", "/auth/mfa", missing=True),
    Endpoint("POST", "/auth/mfa/enrolment", missing=True),
    Endpoint("POST", "/auth/mfa/enrolment/confirm", form={"code": "123456"}, missing=True),
    Endpoint("POST", "/auth/mfa/recovery-codes", missing=True),
    Endpoint("POST", "/auth/mfa/token", form=MFA, public=True, closed="auth_mfa_token"),
    Endpoint("POST", "/auth/mfa/step-up", form={"code": "123456"}, missing=True, closed="auth_mfa_step_up"),
    Endpoint("POST", "/api-keys", json={"name": "new", "scopes": []}),
    Endpoint("GET", "/api-keys"),
    Endpoint("GET", "/api-keys/{key_id}", missing=True),
    Endpoint("DELETE", "/api-keys/{key_id}", missing=True),
    Endpoint("POST", "/api-keys/{key_id}/rotate", json={"overlap_s": 60}, missing=True),
    Endpoint("POST", "/webhooks", json={"url": "https://8.8.8.8/hook"}),
    Endpoint("GET", "/webhooks"),
    Endpoint("DELETE", "/webhooks/{webhook_id}", missing=True),
    Endpoint("POST", "/webhooks/{webhook_id}/rotate", missing=True),
    Endpoint("GET", "/webhooks/{webhook_id}/deliveries", missing=True),
    Endpoint("POST", "/webhooks/{webhook_id}/test", missing=True),
    Endpoint("POST", "/webhooks/deliveries/{delivery_id}/retry", missing=True),
    Endpoint("POST", "/records", json={"name": "new"}, scope="write:records"),
    Endpoint("GET", "/records", scope="read:records", role="db_reader"),
    Endpoint("GET", "/records/{record_id}", scope="read:records", role="db_reader", closed="records_get"),
    Endpoint("PATCH", "/records/{record_id}", json={"name": "newer"}, scope="write:records"),
    Endpoint("DELETE", "/records/{record_id}", scope="write:records"),
    Endpoint("GET", "/health/db", public=True),
    Endpoint("GET", "/policies", scope="read:policies", role="admin", needs_database=False),
    Endpoint("GET", "/policies/breakers", scope="read:policies", role="admin", needs_database=False),
    Endpoint("PUT", "/policies/{name}/switch", json={"enabled": True, "reason": "a test"}, scope="write:policies", role="admin"),
    Endpoint("PUT", "/policies/breakers/{dependency}", json={"state": "auto", "reason": "a test"}, scope="write:policies", role="admin"),
    Endpoint("GET", "/db-monitor/performance", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/connections", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/n-plus-one", scope="read:monitor", needs_database=False),
    Endpoint("POST", "/db-monitor/analyze-query", json={"queryid": "1"}, scope="read:monitor", missing=True, cap=131_072),
    Endpoint("GET", "/db-monitor/locks", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/replication", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/maintenance", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/settings", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/cache", scope="read:monitor", needs_database=False),
    Endpoint("GET", "/db-monitor/indexes", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/indexes/suggested", scope="read:monitor", needs_database=False),
    Endpoint("GET", "/db-monitor/tables", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/table-stats/{table_name}", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/slow-queries", scope="read:monitor"),
    Endpoint("GET", "/db-monitor/slow-queries/{queryid}", scope="read:monitor", missing=True),
    Endpoint("POST", "/db-monitor/optimize-query", json={"queryid": "1"}, scope="read:monitor", missing=True, cap=131_072),
    Endpoint("POST", "/heavy-calc", json={"size": 1000}, scope="run:cpu_job", role="cpu_user", closed="heavy_calc", status=202),
    Endpoint("GET", "/jobs"),
    Endpoint("GET", "/jobs/{job_id}", missing=True),
    Endpoint("GET", "/jobs/{job_id}/events", missing=True),
    Endpoint("POST", "/jobs/{job_id}/cancel", missing=True),
    Endpoint("POST", "/jobs/{job_id}/retry", missing=True),
    Endpoint("GET", "/external-data", query="?query=x", scope="read:external", role="io_user", needs_database=False),
    Endpoint("GET", "/credits", scope="read:credits"),
    Endpoint("GET", "/credits/ledger", scope="read:credits"),
    Endpoint(
        "POST", "/credits/grants", json={"account": NOBODY, "amount": 1}, scope="write:credits", role="admin", key=True,
        closed="credits_grant",
    ),
)  # fmt: skip
PAGES = (
    Endpoint("GET", "/ui"),
    Endpoint("GET", "/ui/assets/{name}", public=True),
    Endpoint("GET", "/ui/login", public=True),
    Endpoint("POST", "/ui/login", form=FORM, public=True),
    Endpoint("POST", "/ui/login/mfa", form={"mfa_token": "some token", "code": "123456"}, public=True),
    Endpoint("POST", "/ui/logout", form={"everywhere": "true"}),
    Endpoint("GET", "/ui/db-monitor", scope="read:monitor"),
    Endpoint("GET", "/ui/db-monitor/queries", scope="read:monitor"),
    Endpoint("GET", "/ui/db-monitor/queries/{queryid}", scope="read:monitor", missing=True),
    Endpoint("GET", "/ui/db-monitor/explain", scope="write:monitor"),
    Endpoint("POST", "/ui/db-monitor/explain", form={"sql": "SELECT 1"}, scope="write:monitor", cap=393_216),
    Endpoint("GET", "/ui/db-monitor/indexes", scope="read:monitor"),
    Endpoint("GET", "/ui/db-monitor/tables", scope="read:monitor"),
    Endpoint("GET", "/ui/db-monitor/tables/{table_name}", scope="read:monitor"),
    Endpoint("GET", "/ui/db-monitor/connections", scope="read:monitor"),
    Endpoint("GET", "/ui/db-monitor/cache", scope="read:monitor"),
    Endpoint("GET", "/ui/db-monitor/n-plus-one", scope="read:monitor"),
    Endpoint("GET", "/ui/db-monitor/server", scope="read:monitor"),
    Endpoint("GET", "/ui/jobs", scope="read:jobs"),
    Endpoint("GET", "/ui/jobs/{job_id}", scope="read:jobs", missing=True),
    Endpoint("POST", "/ui/jobs/retry-dead", form={"name": "nothing"}, scope="write:jobs", cap=65_536),
    Endpoint("POST", "/ui/jobs/{job_id}/cancel", form={}, scope="write:jobs", cap=65_536, missing=True),
    Endpoint("POST", "/ui/jobs/{job_id}/retry", form={}, scope="write:jobs", cap=65_536, missing=True),
    Endpoint("GET", "/ui/policies", scope="read:policies", role="admin"),
)
DOCS = ("/openapi.json", "/docs", "/docs/oauth2-redirect")
OPEN = tuple(Endpoint("GET", path, public=True) for path in ("/live", "/ready", "/health", "/metrics", *DOCS))
JSON = [endpoint for endpoint in GATED if endpoint.json is not None]


SAMPLES = {
    "name": "records_get",
    "dependency": "external_data",
    "session_id": NOBODY,
    "key_id": NOBODY,
    "webhook_id": NOBODY,
    "delivery_id": NOBODY,
    "user_id": NOBODY,
    "job_id": NOBODY,
    "role": "db_reader",
    "scope": "read:records",
    "table_name": "public.records",
    "queryid": "-1",
}
"""Values of path parameters that are the same on every site."""


def path_of(site: Site, endpoint: Endpoint) -> str:
    """The endpoint's path for something that exists."""
    return endpoint.path.format(record_id=site.record, **SAMPLES) + endpoint.query


def harmless(endpoint: Endpoint) -> Endpoint:
    """The same for a record that nobody has, so that nothing is charged or deleted: 404."""
    return endpoint._replace(path=endpoint.path.replace("{record_id}", str(uuid4())))


def name_of(value: Any) -> str:
    if isinstance(value, Endpoint):
        return f"{value.method} {value.path}"
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return ascii(text[:30])


@contextmanager
def case(value: Any) -> Iterator[None]:
    """Says which of a test's many cases failed; a test for each would cost more than the cases do."""
    try:
        yield
    except AssertionError as failure:
        failure.add_note(f"the case: {name_of(value)}")
        raise


def each(endpoints: Any) -> Callable[[Any], Any]:
    return each_case("endpoint", endpoints, ids=name_of)


@pytest.fixture(scope="module")
def settings(postgres_url: str, valkey_url: str) -> Settings:
    return Settings(
        _env_file=None, app_env="test", database_url=postgres_url, valkey_url=valkey_url, valkey_timeout_ms=2000,
        login={"failed_auth_per_ip": 100_000},
        # Two at once is too few for tests that ask many times.
        policy_variables={"POLICIES__HEAVY_CALC__RATE_LIMIT__USER__MAX_TOKENS": "1000"},
    )  # fmt: skip


@pytest.fixture(scope="module")
async def site(settings: Settings, database: Database) -> AsyncIterator[Site]:
    async with whole_site(settings, database) as site:
        yield site


@pytest.fixture(autouse=True)
async def nothing_is_written(site: Site, clean_store: None) -> AsyncIterator[None]:
    """Around every test here."""
    before = await site.rows()
    yield
    assert await site.rows() == before
    deadline = time.monotonic() + 10
    while site.platform.database.pool_status().checked_out:
        # Periodic work borrows a connection for a moment; one that is never given back is a leak.
        assert time.monotonic() < deadline, "a connection was not given back"
        await asyncio.sleep(0.01)


async def send(site: Site, endpoint: Endpoint, **options: Any) -> httpx2.Response:
    """Ask as the owner with every right, for his record, with a good body unless ``options`` say otherwise."""
    path = path_of(site, endpoint)
    if not endpoint.public:
        options.setdefault("headers", {})
        key = {"Idempotency-Key": uuid4().hex} if endpoint.key else {}
        options["headers"] = {**site.bearer(), **key, **options["headers"]}
    if not {"content", "json", "data", "files"} & set(options):
        options |= (
            {"json": endpoint.json} if endpoint.json else {"data": endpoint.form} if endpoint.form else {}
        )
    return await site.client.request(endpoint.method, options.pop("path", path), **options)


def assert_problem(answer: httpx2.Response, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["type"]
    assert body["title"]
    leaked = [
        word for word in ("Traceback", "sqlalchemy", "asyncpg", "pydantic", ".py") if word in answer.text
    ]
    assert not leaked
    return body


async def test_the_table_has_every_endpoint(site: Site) -> None:
    served = {(method, route.path) for route in site.platform.routes for method in route.methods} - {
        ("HEAD", path) for path in DOCS
    }
    assert served == {(endpoint.method, endpoint.path) for endpoint in (*GATED, *OPEN, *PAGES)}


MALFORMED: tuple[bytes, ...] = (
    b"", b"{", b"not json", b'{"name": }', b"{'name': 'x'}", b'{"name": "x"', b"\xff\xfe{}", b'{"name": "x"}}', b"\x00",
)  # fmt: skip
UNREADABLE: tuple[bytes, ...] = (
    b'{"name": "\xff"}',
    b'{"name": "x", "payload": {"n": ' + b"9" * 5000 + b"}}",
)
LONG: tuple[bytes, ...] = (b"[" * 140_000, b'{"a":' * 100_000)
WRONG: tuple[bytes, ...] = (
    b"null", b"[]", b"1", b'"text"', b"true", b"[{}]", b'{"name": null}', b'{"name": 1}', b'{"name": ["x"]}',
    b'{"name": {}}', b'{"name": true}', b'{"name": ""}', b'{"name": "   "}', b'{"name": "a\\u0000b"}',
    b'{"name": "\\ud800"}', b'{"name": "x", "tags": "red"}', b'{"name": "x", "tags": [1]}',
    b'{"name": "x", "tags": ["\\u0000"]}', b'{"name": "x", "tags": ["\\udfff"]}', b'{"name": "x", "tags": {}}',
    b'{"name": "x", "tags": null}', b'{"name": "x", "payload": []}', b'{"name": "x", "payload": "text"}',
    b'{"name": "x", "payload": null}', b'{"name": "x", "payload": {"n": NaN}}',
    b'{"name": "x", "payload": {"n": Infinity}}', b'{"name": "x", "payload": {"n": -Infinity}}',
    b'{"name": "x", "payload": {"n": 1e999}}', b'{"name": "x", "payload": {"n": 9223372036854775808}}',
    b'{"name": "x", "payload": {"k": "\\u0000"}}', b'{"name": "x", "payload": {"\\u0000": 1}}',
    b'{"name": "x", "payload": {"\\ud800": 1}}',
    b'{"name": "x", "payload": ' + b'{"a":' * 17 + b"1" + b"}" * 18,
    b'{"name": "x", "payload": {"k": ' + b"[" * 500 + b"]" * 500 + b"}}",
    b'{"name": "x", "payload": {"k": "' + b"x" * 16_385 + b'"}}',
    b'{"name": "x", "id": "00000000-0000-0000-0000-000000000000"}', b'{"name": "x", "owner_id": null}',
    b'{"name": "x", "__proto__": {}}', b'{"name": "x", "": 1}', b'{"name": "x", "version": 99}',
    json.dumps({"name": "x" * 201}).encode(), json.dumps({"name": "x", "tags": ["t"] * 21}).encode(),
    json.dumps({"name": "x", "tags": ["t" * 51]}).encode(),
    json.dumps({"name": "first", "\x00": 0}).encode(),
)  # fmt: skip


KINDS = (
    "text/plain",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "",
    "a/b/c",
    "json",
    "\xff",
)


async def send_json(site: Site, endpoint: Endpoint, content: bytes) -> httpx2.Response:
    """As ``send``, each time with nothing of the limits used yet."""
    await site.platform.store.execute("FLUSHDB")
    return await send(site, endpoint, content=content, headers={"Content-Type": "application/json"})


class TestJson:
    @each(JSON)
    async def test_what_is_no_json_is_refused(self, site: Site, endpoint: Endpoint) -> None:
        for contents, status in ((MALFORMED, 422), (UNREADABLE, 400), (LONG, 413)):
            for content in contents:
                with case(content):
                    assert_problem(await send_json(site, endpoint, content), status)

    @each(JSON)
    async def test_json_of_the_wrong_shape_is_422_that_says_where(
        self, site: Site, endpoint: Endpoint
    ) -> None:
        for content in WRONG:
            with case(content):
                body = assert_problem(await send_json(site, endpoint, content), 422)
                assert all(error["loc"][0] == "body" for error in body["errors"])

    @each(JSON)
    async def test_another_content_type_is_422(self, site: Site, endpoint: Endpoint) -> None:
        for kind in KINDS:
            headers: Any = [*site.bearer().items(), ("Content-Type", kind.encode("latin-1"))]
            headers += [("Idempotency-Key", uuid4().hex)] if endpoint.key else []
            path = path_of(site, endpoint)
            with case(kind):
                answer = await site.client.request(
                    endpoint.method, path, content=b'{"name": "x"}', headers=headers
                )
                assert_problem(answer, 422)

    @each(JSON)
    async def test_no_content_type_is_422(self, site: Site, endpoint: Endpoint) -> None:
        assert_problem(await send(site, endpoint, content=b'{"name": "x"}'), 422)

    @each(JSON)
    async def test_a_compressed_body_is_not_json(self, site: Site, endpoint: Endpoint) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert_problem(await send(site, endpoint, content=b"\x1f\x8b\x08\x00garbage", headers=headers), 400)

    async def test_the_last_of_two_equal_keys_counts(self, site: Site) -> None:
        content = b'{"name": "one", "name": "two", "payload": {"k": 1, "k": 2}}'
        headers = {**site.bearer(), "Content-Type": "application/json"}
        answer = await site.client.post("/records", content=content, headers=headers)
        assert answer.status_code == 201
        assert (answer.json()["name"], answer.json()["payload"]) == ("two", {"k": 2})
        assert (
            await site.client.delete(answer.headers["location"], headers=site.bearer())
        ).status_code == 204


class TestSize:
    @each([endpoint for endpoint in GATED if endpoint.json or endpoint.form])
    async def test_a_declared_length_that_is_too_long_is_413(self, site: Site, endpoint: Endpoint) -> None:
        kind = "application/json" if endpoint.json else "application/x-www-form-urlencoded"
        content = b"name=" + b"x" * 1_048_577
        assert_problem(await send(site, endpoint, content=content, headers={"Content-Type": kind}), 413)

    @each([endpoint for endpoint in GATED if endpoint.json or endpoint.form])
    async def test_a_chunked_body_that_grows_too_long_is_413(self, site: Site, endpoint: Endpoint) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield b'{"name": "'
            for _ in range(130):
                yield b"x" * 8192
            yield b'"}'

        kind = "application/json" if endpoint.json else "application/x-www-form-urlencoded"
        assert_problem(await send(site, endpoint, content=body(), headers={"Content-Type": kind}), 413)

    @each(JSON)
    async def test_the_endpoints_own_cap_counts(self, site: Site, endpoint: Endpoint) -> None:
        content = b'{"name": "x"' + b" " * endpoint.cap + b"}"
        answer = await send(site, endpoint, content=content, headers={"Content-Type": "application/json"})
        assert_problem(answer, 413)

    @each([endpoint for endpoint in GATED if not endpoint.json and not endpoint.form])
    async def test_a_body_where_none_is_expected_is_not_read(self, site: Site, endpoint: Endpoint) -> None:
        answer = await send(site, harmless(endpoint), content=b'{"surprise": true}')
        expected = 404 if "{record_id}" in endpoint.path or endpoint.missing else endpoint.status
        assert answer.status_code == expected


FORMS: tuple[dict[str, Any], ...] = (
    {}, {"username": "a@example.com"}, {"password": "secret"}, {**FORM, "username": ""}, {**FORM, "password": ""},
    {**FORM, "username": "x" * 255}, {**FORM, "password": "x" * 129}, {**FORM, "username": "a\x00b@example.com"},
    {**FORM, "username": "a\r\nb"}, {**FORM, "grant_type": "client_credentials"}, {**FORM, "surprise": "1"},
    {**FORM, "scope": "x" * 2049}, {**FORM, "client_id": "x" * 256}, {**FORM, "client_secret": "x" * 256},
    {**FORM, "username": ["a@example.com", "b@example.com"], "grant_type": ["password", "x"]},
)  # fmt: skip


class TestForm:
    TOKEN = GATED[0]

    @pytest.mark.parametrize("form", FORMS, ids=name_of)
    async def test_a_form_of_the_wrong_shape_is_422(self, site: Site, form: dict[str, Any]) -> None:
        body = assert_problem(await send(site, self.TOKEN, data=form), 422)
        assert "some password" not in json.dumps(body)

    @pytest.mark.parametrize(
        "scope", ["READ", "read:records\tx", "a;b", "\u00e4", " ".join("abc" for _ in range(65))]
    )
    async def test_a_scope_that_is_none_is_400_that_says_so(self, site: Site, scope: str) -> None:
        body = assert_problem(await send(site, self.TOKEN, data={**FORM, "scope": scope}), 400)
        assert body["error"] == "invalid_scope"

    @pytest.mark.parametrize(
        ("status", "kind", "content"),
        [
            (422, "application/json", b'{"username": "a", "password": "b"}'),
            (422, "text/plain", b"username=a&password=b"),
            (422, "", b"username=a&password=b"),
            (400, "multipart/form-data", b"--x\r\n"),
            (400, "multipart/form-data; boundary=x", b"no boundary in here"),
            (422, "multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n'),
            (400, "multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n"),
            (400, "multipart/form-data; boundary=\xff", b"--x--\r\n"),
            (422, "application/x-www-form-urlencoded", b"%"),
            (422, "application/x-www-form-urlencoded", b"%zz=%zz"),
            (422, "application/x-www-form-urlencoded", b"=" * 1000),
            (400, "application/x-www-form-urlencoded", b"&".join(b"a%d=1" % i for i in range(5000))),
            (401, "application/x-www-form-urlencoded", b"username=\xff\xfe&password=\xff"),
            (401, "application/x-www-form-urlencoded; charset=utf-16", b"username=a&password=b"),
            (422, "application/x-www-form-urlencoded; charset=nonsense", b"\x00"),
        ],
        ids=name_of,
    )  # fmt: skip
    async def test_what_is_no_form_is_4xx(self, site: Site, status: int, kind: str, content: bytes) -> None:
        headers = [(b"content-type", kind.encode("latin-1"))]
        answer = await site.client.post("/auth/token", content=content, headers=headers)
        assert_problem(answer, status)

    async def test_a_file_is_no_text(self, site: Site) -> None:
        files = {"username": ("name.txt", b"nobody@example.com"), "password": (None, b"some password")}
        assert_problem(await send(site, self.TOKEN, files=files), 422)

    @pytest.mark.parametrize("password", ["\ud800", "\x00", "\u202e", "\U0001f600" * 30])
    async def test_any_text_may_be_a_password_and_is_wrong(self, site: Site, password: str) -> None:
        content = (
            b"username=nobody%40example.com&password="
            + "".join(f"%{byte:02x}" for byte in password.encode("utf-8", "surrogatepass")).encode()
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = assert_problem(await send(site, self.TOKEN, content=content, headers=headers), 401)
        assert body["error"] == "invalid_grant"


class TestPages:
    """The same things sent to pages: a page that says what is wrong, or the way to the sign-in form."""

    @each(PAGES)
    async def test_whatever_is_sent_is_answered_with_a_page(self, site: Site, endpoint: Endpoint) -> None:
        path, kind = path_of(site, endpoint), "application/x-www-form-urlencoded"
        sent: list[dict[str, Any]] = [
            {}, {"params": {"next": "x" * 5000}}, {"headers": {"Cookie": "gatehouse=x; a; =; \u00ff".encode("latin-1")}},
            {"headers": {"Cookie": "x" * 50_000}}, {"headers": {"Host": "\u00ff".encode("latin-1")}},
        ]  # fmt: skip
        forms = (
            b"",
            b"%",
            b"csrf_token=%FF",
            b"csrf_token=a&csrf_token=b",
            b"&".join(b"a%d=1" % i for i in range(5000)),
        )
        sent += [{"content": form, "headers": {"Content-Type": kind}} for form in forms]
        sent += [
            {"content": b"{}", "headers": {"Content-Type": "application/json"}},
            {"content": b"x" * 1_100_000},
        ]
        sent += [{"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}]
        for options in sent:
            answer = await site.client.request(endpoint.method, path, **options)
            assert answer.status_code in {200, 303, 400, 403, 404, 413, 422}, options
            assert answer.status_code == 303 or answer.headers["content-type"].startswith("text/html")
            assert "Traceback" not in answer.text

    @each(PAGES)
    async def test_another_method_is_405(self, site: Site, endpoint: Endpoint) -> None:
        answer = await site.client.put(path_of(site, endpoint))
        assert answer.status_code == 405
        assert endpoint.method in answer.headers["allow"]

    @each([endpoint for endpoint in PAGES if endpoint.scope])
    async def test_rights_are_asked_for(self, site: Site, endpoint: Endpoint) -> None:
        body = assert_problem(await send(site, endpoint, headers=site.bearer(scopes=["read:credits"])), 403)
        assert body["missing_scopes"] == [endpoint.scope]
        if endpoint.role is not None:
            body = assert_problem(await send(site, endpoint, headers=site.bearer(roles=["cpu_user"])), 403)
            assert body["required_roles"] == [endpoint.role]
        assert (await send(site, endpoint)).status_code == (404 if endpoint.missing else 200)


class TestPaths:
    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    @pytest.mark.parametrize(
        "part", ["x", "1", "-1", "%00", "%FF", "%ED%A0%80", "%2e%2e", "..%5c", "{record_id}", "'%20OR%201=1", "x" * 8000, "%F0%9F%98%80",
                 "00000000-0000-0000-0000-00000000000g", "%0d%0aSet-Cookie:%20a=b"],
        ids=name_of,
    )  # fmt: skip
    async def test_a_record_id_that_is_none_is_422(self, site: Site, method: str, part: str) -> None:
        body = {"name": "x"} if method == "PATCH" else None
        answer = await site.client.request(method, f"/records/{part}", headers=site.bearer(), json=body)
        assert_problem(answer, 422)
        assert "set-cookie" not in answer.headers

    @each_case(
        "path", ["/", "/nothing", "/%", "/%zz", "/%00", "/%FF%FE", "/records/a/b", "/records/..%2f..%2fetc/passwd", "/records/",
                 "/users/me/", "//", "//evil.example/records/", "/RECORDS", "/auth", "/auth/token/", "/live/", "/.env", "/docs/x",
                 "/openapi.yaml", "/" + "x" * 60_000,
                 "/{path}", "/records;x=1", "/%252e%252e", "/.."],
        ids=name_of,
    )  # fmt: skip
    @each_case("method", ["GET", "POST"])
    async def test_an_unknown_path_is_404(self, site: Site, method: str, path: str) -> None:
        assert_problem(await site.client.request(method, path, headers=site.bearer()), 404)

    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=1e2", "limit=", "limit=99999999999999999999", "limit=%00", "limit=1&limit=x",
         "cursor=", "cursor=x", "cursor=%00", "cursor=%FF", "cursor=f" + "_" * 31, "cursor=" + "A" * 50_000,
         "tag=", "tag=%00", "tag=%20", "tag=" + "x" * 51, "surprise=1", "LIMIT=1", "limit[]=1", "=", "%", "?"],
        ids=name_of,
    )  # fmt: skip
    async def test_a_query_that_makes_no_sense_is_422(self, site: Site, query: str) -> None:
        answer = await site.client.get(f"/records?{query}", headers=site.bearer())
        assert_problem(answer, 422)

    @pytest.mark.parametrize(
        "query", ["&&&", "tag=%FF", "tag=%ED%A0%80", "tag='%20OR%201=1", "tag=%25", "tag=*"]
    )
    async def test_a_query_of_odd_characters_finds_nothing(self, site: Site, query: str) -> None:
        answer = await site.client.get(f"/records?{query}", headers=site.bearer())
        assert answer.status_code == 200
        assert [item["name"] for item in answer.json()["items"]] == (["first"] if query == "&&&" else [])


def foreign_methods() -> list[tuple[str, str]]:
    has = {(endpoint.method, endpoint.path) for endpoint in (*GATED, *OPEN)}
    has |= {("HEAD", path) for path in DOCS}
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
    return [
        (method, path)
        for path in sorted({path for _, path in has})
        for method in methods
        if (method, path) not in has
    ]


class TestMethods:
    async def test_a_method_that_a_path_does_not_have_is_405_naming_one_it_has(self, site: Site) -> None:
        for method, path in foreign_methods():
            with case(f"{method} {path}"):
                answer = await site.client.request(method, path_of(site, Endpoint(method, path)))
                if method == "HEAD":
                    assert answer.status_code == 405
                else:
                    assert_problem(answer, 405)
                allowed = set(answer.headers["allow"].split(", "))
                assert allowed
                assert allowed <= {
                    method for route in site.platform.routes if route.path == path for method in route.methods
                }


TOKENS: tuple[bytes, ...] = (
    b"Bearer", b"Bearer ", b"Bearer x", b"Bearer a.b.c", b"Bearer \xff\xfe", b"Bearer x y", b"bearer null", b"Bearer \x00", b"Bearer ..",
    b"Bearer " + b"x" * 100_000, b"Bearer " + b"a." * 50_000, b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
    b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.AAAA",
)  # fmt: skip


class TestCredentials:
    @each(GATED)
    async def test_a_bad_token_is_401_with_a_challenge(self, site: Site, endpoint: Endpoint) -> None:
        endpoint = endpoint._replace(public=True)  # send no good token as well
        for header in TOKENS:
            with case(header):
                answer = await send(site, endpoint, headers=[(b"authorization", header)])
                assert_problem(answer, 401)
                assert answer.headers["www-authenticate"].startswith("Bearer")

    @each([endpoint for endpoint in GATED if not endpoint.public])
    async def test_no_token_or_another_scheme_is_401_with_a_challenge(
        self, site: Site, endpoint: Endpoint
    ) -> None:
        for header in (None, b"Basic YTpi", b"Digest x", b"", b"Token x"):
            headers = [] if header is None else [(b"authorization", header)]
            with case(header):
                answer = await send(site, endpoint._replace(public=True), headers=headers)
                assert_problem(answer, 401)
                assert answer.headers["www-authenticate"].startswith("Bearer")

    @each(GATED)
    async def test_two_tokens_are_400(self, site: Site, endpoint: Endpoint) -> None:
        good = site.bearer()["Authorization"].encode()
        headers = [(b"authorization", good), (b"authorization", good)]
        assert_problem(await send(site, endpoint._replace(public=True), headers=headers), 400)

    @each([endpoint for endpoint in GATED if endpoint.scope])
    async def test_a_missing_scope_is_403_that_names_it(self, site: Site, endpoint: Endpoint) -> None:
        other = "run:cpu_job" if endpoint.scope != "run:cpu_job" else "read:records"
        body = assert_problem(await send(site, endpoint, headers=site.bearer(scopes=[other])), 403)
        assert body["missing_scopes"] == [endpoint.scope]
        assert str(endpoint.scope) in body["detail"]

    @each([endpoint for endpoint in GATED if endpoint.role])
    async def test_a_missing_role_is_403_that_names_it(self, site: Site, endpoint: Endpoint) -> None:
        other = "cpu_user" if endpoint.role != "cpu_user" else "db_reader"
        body = assert_problem(await send(site, endpoint, headers=site.bearer(roles=[other])), 403)
        assert body["required_roles"] == [endpoint.role]

    @each([endpoint for endpoint in GATED if endpoint.scope])
    async def test_who_may_not_call_is_told_nothing_about_his_body(
        self, site: Site, endpoint: Endpoint
    ) -> None:
        answer = await send(site, endpoint, content=b"{", headers=site.bearer(scopes=[]))
        assert "errors" not in assert_problem(answer, 403)


@pytest.fixture
async def strict_site(site: Site, settings: Settings, database: Database) -> AsyncIterator[Site]:
    """The same, with three requests a caller where the code allows more."""
    async with whole_site(
        settings.model_copy(update={"policy_variables": strict(site.platform)}), database
    ) as other:
        yield other


@each(GATED)
async def test_a_used_up_limit_is_429_with_the_time_to_wait(strict_site: Site, endpoint: Endpoint) -> None:
    if endpoint.json or endpoint.form:
        options: dict[str, Any] = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    else:
        endpoint, options = harmless(endpoint), {}
    *before, answer = [await send(strict_site, endpoint, **options) for _ in range(4)]
    assert all(one.status_code < 500 for one in before)
    body = assert_problem(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert body["violated-policies"]
    assert "r=0" in answer.headers["ratelimit"]


TOO_LONG = (b"content-length", b"9" * 5000)


class TestHeaders:
    @each([*GATED[1:2], *OPEN[:1]])
    @pytest.mark.parametrize(
        "header",
        [
            (b"x-long", b"x" * 100_000), (b"x-request-id", b"x" * 10_000), (b"x-request-id", b"\r\n\xff"), (b"traceparent", b"00-zz"),
            (b"x-forwarded-for", b"," * 10_000), (b"x-forwarded-for", b"\xff"), (b"accept", b"nonsense"), (b"accept", b"application/xml"),
            (b"cookie", b"\xff=\x00;" * 1000), (b"content-length", b"-1"), (b"content-length", b"x"), TOO_LONG,
            (b"host", b"\xff\xfe"), (b"range", b"bytes=0-0,-1"), (b"origin", b"null"), (b"expect", b"nonsense"),
            (b"transfer-encoding", b"gzip, chunked"), (b"", b""),
        ],
        ids=name_of,
    )  # fmt: skip
    async def test_an_odd_header_changes_nothing_or_is_413(
        self, site: Site, endpoint: Endpoint, header: tuple[bytes, bytes]
    ) -> None:
        headers = [header, *((name.encode(), value.encode()) for name, value in site.bearer().items())]
        answer = await send(site, endpoint._replace(public=True), headers=headers)
        if header == TOO_LONG:
            assert_problem(answer, 413)
        else:
            assert answer.status_code == 200
        assert answer.headers["x-request-id"] != header[1].decode("latin-1")

    async def test_thousands_of_headers_are_headers(self, site: Site) -> None:
        headers = [(b"x-%d" % number, b"1") for number in range(5000)]
        # Made without the client, which would look for cookies among them: 5,000 times 5,000 comparisons.
        request = httpx2.Request("GET", "http://test/live", headers=headers)
        answer = await site.client.send(request)
        assert len(request.headers) > 5000
        assert answer.status_code == 200


SAFEST_FIRST = ("GET", "PUT", "PATCH", "POST", "DELETE")


class TestOutage:
    """One of the two servers does not answer at all."""

    @pytest.fixture
    def settings_of(self, postgres_url: str, valkey_url: str) -> Callable[..., Settings]:
        def make(**changes: Any) -> Settings:
            values = {"database_url": postgres_url, "valkey_url": valkey_url, "valkey_timeout_ms": 2000}
            return Settings(_env_file=None, app_env="test", **{**values, **changes})

        return make

    async def test_without_the_store_what_must_count_is_503_and_the_rest_goes_on(
        self, site: Site, database: Database, settings_of: Callable[..., Settings]
    ) -> None:
        settings = settings_of(valkey_url=f"valkey://{DEAD}/0")
        async with whole_site(settings, database) as other:
            for endpoint in sorted(GATED, key=lambda endpoint: SAFEST_FIRST.index(endpoint.method)):
                with case(endpoint):
                    answer = await send(other, endpoint)
                    if endpoint.closed:
                        body = assert_problem(answer, 503)
                        assert (body["reason"], body["policy"]) == ("store_unavailable", endpoint.closed)
                        assert int(answer.headers["retry-after"]) >= 1
                    else:
                        done = {"DELETE": 204, "POST": 201}.get(endpoint.method, 200)
                        assert answer.status_code == (404 if endpoint.missing else done)
                        assert "ratelimit" not in answer.headers

    async def test_without_the_database_it_is_503_with_the_time_to_wait(
        self, site: Site, database: Database, settings_of: Callable[..., Settings]
    ) -> None:
        settings = settings_of(database_url=f"postgresql+asyncpg://app:hidden-word@{DEAD}/app")
        async with whole_site(settings, database) as other:
            for endpoint in (endpoint for endpoint in GATED if endpoint.needs_database):
                with case(endpoint):
                    answer = await send(other, endpoint)
                    assert_problem(answer, 503)
                    assert int(answer.headers["retry-after"]) >= 1
                    assert "hidden-word" not in answer.text
            ready = await other.client.get("/ready")
            assert assert_problem(ready, 503)["failing"] == ["database", "schema"]
            assert (await other.client.get("/live")).status_code == 200
