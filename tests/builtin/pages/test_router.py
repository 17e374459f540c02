"""Signing in and out on pages, in the whole service, as a browser does."""

import re
from uuid import UUID

import pytest
from fastapi import FastAPI

from app.builtin.accounts.models import User
from app.builtin.accounts.service import MfaRequired, Opened, PageSessions, Revocation, Sessions
from app.builtin.pages.service import Entrance
from app.core.db import AsyncSession, Database, get_db_context
from app.core.errors import NotAuthenticated
from app.core.http._assets import STYLE
from app.core.security import TokenService
from tests.builtin.pages.browser import EMAIL, PASSWORD, Browser, assert_nothing_inline, hidden

SESSION = "gatehouse"
ELSEWHERE = (
    "//evil.example", "https://evil.example/ui", "/ui//evil.example", "/\\evil.example", "/ui/../users/me", "/ui/%2e%2E/x", "/uix",
    "ui", "/ui/login", "/ui/logout", "/ui/login/", "javascript:alert(1)", "/ui/\r\nSet-Cookie: a=b", "/ui/" + "x" * 3000, "/users/me",
    "/ui/.", " /ui/policies", "/ui/\t/x", "/ui?x=\n", "", "/ui\\evil", "/ui/x#//evil.example",
)  # fmt: skip
FOREIGN = (
    "https://evil.example",
    "null",
    "http://localhost.evil.example",
    "http://localhost:81",
    "x",
    "http://[",
)


async def signed_in(site: FastAPI, database: Database, user: User) -> Browser:
    """The same as by the form, without the cost of a password."""
    browser, platform = Browser(site), site.state.gatehouse
    token = platform.page_cookies.new()
    async with get_db_context(database) as db:
        opened = await platform.require(Sessions).begin(db, user, user.scopes)
        await platform.require(PageSessions).begin(db, UUID(str(opened.access.claims["sid"])), token)
    scope = {"scheme": "http", "headers": [(b"host", b"localhost")]}
    browser.cookies[SESSION] = (
        platform.page_cookies.issue(scope, "session", token).partition("=")[2].partition(";")[0]
    )
    return browser


class TestSigningIn:
    async def test_a_person_comes_in_by_the_form_and_gets_where_he_wanted(self, browser: Browser) -> None:
        answer = await browser.get("/ui/policies?x=1")
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            "/ui/login?next=/ui/policies%3Fx%3D1",
        )
        assert answer.text == ""
        answer = await browser.sign_in(path=answer.headers["location"])
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/policies?x=1")
        assert list(browser.cookies) == [SESSION, "device"]
        page = await browser.get("/ui/policies")
        assert page.status_code == 200
        assert "<h1>Policies</h1>" in page.text
        # Already in: the form is not shown again.
        again = await browser.get("/ui/login?next=/ui/policies")
        assert "You are signed in" in again.text
        assert '<a href="/ui/policies">' in again.text
        # Unless a page wants him to prove once more who he is.
        assert "<h1>Sign in</h1>" in (await browser.get("/ui/login?next=/ui/policies&again=true")).text

    async def test_a_wrong_password_shows_the_form_again(self, browser: Browser) -> None:
        answer = await browser.sign_in("not the password", "/ui/login?next=/ui/policies")
        assert answer.status_code == 401
        assert "The user name or the password is wrong." in answer.text
        assert hidden(answer)["next"] == "/ui/policies"
        assert SESSION not in browser.cookies
        # The form that came back works.
        form = {**hidden(answer), "username": EMAIL, "password": PASSWORD}
        assert (await browser.post("/ui/login", form)).status_code == 303

    async def test_the_cookie_is_a_new_one_whatever_the_browser_came_with(
        self, browser: Browser, site: FastAPI, database: Database, ann: User
    ) -> None:
        planted = (await signed_in(site, database, ann)).cookies[SESSION]
        browser.cookies[SESSION] = planted
        fields = {
            **await Browser(site).form(),
            "username": EMAIL,
            "password": PASSWORD,
        }
        attacker = Browser(site)
        fields |= await attacker.form()
        browser.cookies |= attacker.cookies
        assert (await browser.post("/ui/login", fields)).status_code == 303
        assert browser.cookies[SESSION] != planted
        # What he held before is over, in this process at once.
        browser.cookies[SESSION] = planted
        assert (await browser.get("/ui")).status_code == 303

    @pytest.mark.parametrize(
        ("base", "name", "is_secure"),
        [
            ("http://localhost:8000", "gatehouse", False),
            ("http://127.0.0.1", "gatehouse", False),
            ("https://localhost", "__Host-gatehouse", True),
            ("http://service.example", "__Host-gatehouse", True),
            ("http://localhost.example", "__Host-gatehouse", True),
        ],
    )
    async def test_the_cookies_flags(
        self, site: FastAPI, ann: User, base: str, name: str, *, is_secure: bool
    ) -> None:
        browser = Browser(site, base)
        await browser.sign_in()
        assert list(browser.cookies) == [name, "__Host-device" if is_secure else "device"]
        secure = ["Secure"] if is_secure else []
        assert browser.flags[name].split("; ") == [*secure, "Path=/", "HttpOnly", "SameSite=Lax"]
        flags = browser.flags[name + "-login"].split("; ")
        assert flags == [*secure, "Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=0"]

    async def test_nobody_is_sent_elsewhere(self, browser: Browser) -> None:
        for wanted in ELSEWHERE:
            page = await browser.client.get("/ui/login", params={"next": wanted})
            assert hidden(page)["next"] == "/ui", wanted
        for wanted in ("/ui/policies", "/ui/db-monitor/locks/?sort=-age&from=%2Fx", "/ui/a.b/..c"):
            page = await browser.client.get("/ui/login", params={"next": wanted})
            assert hidden(page)["next"] == wanted

    async def test_a_form_is_sent_on_only_to_pages(self, browser: Browser) -> None:
        fields = await browser.form()
        answer = await browser.post(
            "/ui/login",
            {
                **fields,
                "next": "//evil.example",
                "username": EMAIL,
                "password": PASSWORD,
            },
        )
        assert answer.headers["location"] == "/ui"


class TestForgery:
    async def test_every_form_without_its_token_is_refused(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        """Also those of pages that others add: it is the route that asks, of those who may open it."""
        ann.scopes = ["read:monitor", "write:monitor", "read:jobs", "write:jobs"]
        browser = await signed_in(site, database, ann)
        paths = [
            route.path
            for route in site.state.gatehouse.routes
            if route.path.startswith("/ui") and "POST" in route.methods
        ]
        assert {"/ui/login", "/ui/login/mfa", "/ui/logout"} <= set(paths)
        for path in paths:
            for form in ({}, {"csrf_token": ""}, {"csrf_token": "x" * 43}):
                answer = await browser.post(path, form)
                assert answer.status_code == 403, path
                assert "This form does not belong to your session" in answer.text
            files = {"csrf_token": ("a.txt", b"x" * 43)}
            cookie = f"{SESSION}={browser.cookies[SESSION]}"
            answer = await browser.client.post(path, files=files, headers={"cookie": cookie})
            assert answer.status_code == 403
        assert (await browser.get("/ui")).status_code == 200

    async def test_the_token_of_another_session_is_refused(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        one, other = await signed_in(site, database, ann), await signed_in(site, database, ann)
        stolen = await other.form("/ui")
        assert (await one.post("/ui/logout", stolen)).status_code == 403
        assert (await one.post("/ui/logout", await one.form("/ui"))).status_code == 303

    async def test_a_form_that_another_site_sends_is_refused_although_its_token_is_right(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        browser = await signed_in(site, database, ann)
        form = await browser.form("/ui")
        for site_is in ("cross-site", "same-site", "none", "x"):
            assert (await browser.post("/ui/logout", form, sec_fetch_site=site_is)).status_code == 403
        for origin in FOREIGN:
            assert (await browser.post("/ui/logout", form, origin=origin)).status_code == 403
        assert (await browser.post("/ui/logout", form, origin="http://localhost")).status_code == 303
        # A proxy may have changed Host: what the browser says itself is enough.
        browser = await signed_in(site, database, ann)
        own = {"origin": "https://service.example", "sec_fetch_site": "same-origin"}
        assert (await browser.post("/ui/logout", await browser.form("/ui"), **own)).status_code == 303

    async def test_nobody_is_signed_in_as_somebody_else(self, browser: Browser, site: FastAPI) -> None:
        """Login CSRF: the attacker has a form of his own, and the victim's browser has another cookie or none."""
        attacker = Browser(site)
        form = {
            **await attacker.form(),
            "username": EMAIL,
            "password": PASSWORD,
        }
        assert (await browser.post("/ui/login", form)).status_code == 403
        await browser.form()
        answer = await browser.post("/ui/login", form)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert SESSION not in browser.cookies

    async def test_the_forms_cookie_is_no_session_and_the_sessions_no_form(
        self, browser: Browser, site: FastAPI, database: Database, ann: User
    ) -> None:
        await browser.form()
        (text,) = browser.cookies.values()
        browser.cookies = {SESSION: text}
        assert (await browser.get("/ui")).status_code == 303
        browser.cookies = {SESSION: text.partition(".")[0]}
        assert (await browser.get("/ui")).status_code == 303

    async def test_two_cookies_of_one_name_are_none(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        browser = await signed_in(site, database, ann)
        text = browser.cookies[SESSION]
        assert (await browser.get("/ui", cookie=f"{SESSION}={text}")).status_code == 200
        assert (await browser.get("/ui", cookie=f"{SESSION}={text}; {SESSION}={text}")).status_code == 303
        assert (await browser.get("/ui", cookie=f"__Host-{SESSION}={text}")).status_code == 303


class TestCookieAndToken:
    async def test_the_cookie_opens_nothing_outside_the_pages(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        browser = await signed_in(site, database, ann)
        asked = 0
        for route in site.state.gatehouse.routes:
            gate = route.gate
            if gate is None or gate.config.security.anonymous or route.path.startswith("/ui"):
                continue
            for method in route.methods:
                path = re.sub(r"\{\w+\}", "00000000-0000-0000-0000-000000000000", route.path)
                answer = await browser.client.request(
                    method, path, headers={"cookie": f"{SESSION}={browser.cookies[SESSION]}"}
                )
                assert answer.status_code == 401, route
                asked += 1
        assert asked > 10
        assert (await browser.get("/ui")).status_code == 200

    async def test_a_request_with_a_token_is_the_tokens_whatever_its_cookie(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        browser = await signed_in(site, database, ann)
        tokens = site.state.gatehouse.require(TokenService)
        poor = tokens.issue(str(ann.id), scopes=[], roles=[]).token
        answer = await browser.get("/ui/policies", authorization=f"Bearer {poor}")
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
        for header in ("Bearer x", "Basic YTpi", ""):
            answer = await browser.get("/ui/policies", authorization=header)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        rich = tokens.issue(str(ann.id), scopes=["read:policies"], roles=["admin"]).token
        page = await browser.get("/ui/policies", authorization=f"Bearer {rich}")
        assert (page.status_code, 'action="/ui/logout"' in page.text) == (200, False)
        # Credentials that a browser adds by itself stand in for no form's token.
        assert (await browser.post("/ui/login", {}, authorization="Basic YTpi")).status_code == 403
        assert (await browser.post("/ui/login", {}, authorization=f"Bearer {rich}")).status_code == 403

    async def test_an_api_key_is_a_programs_in_both_headers_and_signs_nobody_out(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        browser = await signed_in(site, database, ann)
        tokens = site.state.gatehouse.require(TokenService)
        rich = tokens.issue(str(ann.id), scopes=["read:policies"], roles=["admin"]).token
        made = await browser.client.post(
            "/api-keys",
            json={"name": "a", "scopes": ["read:policies"], "roles": ["admin"]},
            headers={"Authorization": f"Bearer {rich}"},
        )
        key = made.json()["key"]
        for header in ({"x_api_key": key}, {"authorization": f"Bearer {key}"}):
            page = await browser.get("/ui/policies", **header)
            assert (page.status_code, 'action="/ui/logout"' in page.text) == (200, False)
            answer = await browser.post("/ui/logout", {"everywhere": "true"}, **header)
            assert (answer.status_code, answer.json()["detail"][:30]) == (
                403,
                "This cannot be done with an AP",
            )
        for junk in ("sk_x", ""):
            answer = await browser.get("/ui/policies", x_api_key=junk)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert (await browser.get("/ui/policies")).status_code == 200  # the session goes on


class TestTheEnd:
    async def test_signing_out_ends_the_session_and_takes_the_cookie(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        browser = await signed_in(site, database, ann)
        text = browser.cookies[SESSION]
        answer = await browser.post("/ui/logout", await browser.form("/ui"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/login")
        assert answer.headers["clear-site-data"] == '"cache", "storage"'
        assert browser.cookies == {}
        assert (await browser.get("/ui", cookie=f"{SESSION}={text}")).status_code == 303

    async def test_what_ends_sessions_anywhere_ends_this_one_at_once(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        revocation = site.state.gatehouse.require(Revocation)
        one, other = await signed_in(site, database, ann), await signed_in(site, database, ann)
        assert [(await browser.get("/ui")).status_code for browser in (one, other)] == [200, 200]
        answer = await one.post("/ui/logout", {**await one.form("/ui"), "everywhere": "true"})
        assert answer.status_code == 303
        assert (await other.get("/ui")).status_code == 303
        third = await signed_in(site, database, ann)
        assert (await third.get("/ui")).status_code == 200
        async with get_db_context(database) as db:
            await revocation.end_all_sessions(db, ann.id, "password_changed")
        assert (await third.get("/ui")).status_code == 303

    async def test_a_reader_without_rights_gets_a_page_that_says_so(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        async with get_db_context(database) as db:
            found = await db.get(User, ann.id)
            assert found is not None
            found.roles = []
        browser = await signed_in(site, database, ann)
        page = await browser.get("/ui/policies")
        assert (page.status_code, page.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "This needs one of the roles admin." in page.text
        assert "There is no page that your roles and scopes open." in (await browser.get("/ui")).text


class TestPages:
    async def test_nothing_in_a_page_needs_a_script_or_a_style_of_its_own(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        browser = await signed_in(site, database, ann)
        paths = [route.path for route in site.state.gatehouse.routes if route.path.startswith("/ui")]
        assert len(paths) > 4
        for path in (*paths, "/ui/nothing"):
            page = await browser.get(path)
            if path != "/ui/assets/{name}":
                policy = page.headers["content-security-policy"]
                assert_nothing_inline(page.text, is_scripted="script-src 'self'" in policy)
        assert_nothing_inline((await Browser(site).get("/ui/login")).text)

    async def test_the_list_has_what_the_reader_may_open(
        self, site: FastAPI, database: Database, ann: User
    ) -> None:
        page = await (await signed_in(site, database, ann)).get("/ui")
        assert '<li><a href="/ui/policies">Policies</a>' in page.text


class TestSecondStep:
    """Where a code is asked for after the password; who asks is another room's, so a stand-in does here."""

    async def test_a_code_is_asked_for_and_opens_the_session(
        self, site: FastAPI, browser: Browser, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        platform = site.state.gatehouse
        second = Codes(platform.require(Sessions), ann)
        entrance = platform.require(Entrance)
        for part in ("_sign_in", "_second"):
            monkeypatch.setattr(entrance, part, second)
        asked = await browser.sign_in(path="/ui/login?next=/ui/policies")
        assert asked.status_code == 200
        assert "Enter your code" in asked.text
        assert_nothing_inline(asked.text)
        assert hidden(asked)["mfa_token"] == "the token"
        # The password was right, so that this browser is known at its next sign-in.
        assert browser.cookies["device"] == "None-again"
        asked = await browser.sign_in(path="/ui/login?next=/ui/policies")
        assert browser.cookies["device"] == "None-again-again"
        wrong = await browser.post("/ui/login/mfa", {**hidden(asked), "code": "000000"})
        assert (wrong.status_code, SESSION in browser.cookies) == (401, False)
        assert "That is not the code." in wrong.text
        right = await browser.post("/ui/login/mfa", {**hidden(wrong), "code": "123456"})
        assert (right.status_code, right.headers["location"]) == (303, "/ui/policies")
        assert (await browser.get("/ui/policies")).status_code == 200
        monkeypatch.setattr(entrance, "_second", None)
        other = Browser(site)
        gone = await other.post("/ui/login/mfa", {**await other.form(), "code": "1", "mfa_token": "x"})
        assert gone.status_code == 404


class Codes:
    """Fulfils ``SecondStep`` and asks everybody for a code."""

    def __init__(self, sessions: Sessions, user: User) -> None:
        self._sessions, self._user = sessions, user
        self.device_life_s = 60

    async def with_password(
        self, db: AsyncSession, email: str, password: str, scope: str = "", *, device: str | None = None
    ) -> Opened:
        refusal = MfaRequired("the token", 300)
        refusal.device = f"{device}-again"
        raise refusal

    async def with_code(self, db: AsyncSession, mfa_token: str, code: str) -> Opened:
        if (mfa_token, code) != ("the token", "123456"):
            raise NotAuthenticated("That is not the code.")
        return await self._sessions.begin(db, self._user, self._user.scopes)


class TestAssets:
    async def test_the_style_is_kept_for_ever_and_nothing_else_is_there(self, site: FastAPI) -> None:
        browser = Browser(site)
        answer = await browser.get(STYLE.path)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].startswith("text/css")
        for name in ("pages.css", "..%2f_pages.py", "x"):
            assert (await browser.get(f"/ui/assets/{name}")).status_code == 404
