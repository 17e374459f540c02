"""A browser as far as tests of pages need one: keeps cookies, sends forms, follows nothing by itself."""

import re
from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser

import httpx2
from fastapi import FastAPI

from tests.apps import client_of

EMAIL, PASSWORD = "ann@example.com", "correct horse battery staple"
_HIDDEN = re.compile(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">')


class Browser:
    """``base``: scheme and host of every request. ``cookies`` are its own: what the service sets and takes away, with attributes."""

    def __init__(self, app: FastAPI, base: str = "http://localhost") -> None:
        self.client = client_of(app)
        self.client.base_url = httpx2.URL(base)
        self.base = base
        self.cookies: dict[str, str] = {}
        self.flags: dict[str, str] = {}

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self._send("GET", path, headers)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> httpx2.Response:
        return await self._send("POST", path, headers, form)

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent.setdefault("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        answer = await self.client.request(method, path, headers=sent, data=form)
        self.client.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value, _, flags = rest.partition("; ")
            self.flags[name] = flags
            if "Max-Age=0" in flags:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    async def form(self, path: str = "/ui/login") -> dict[str, str]:
        """The hidden fields of the page's forms."""
        return hidden(await self.get(path))

    async def sign_in(
        self, password: str = PASSWORD, path: str = "/ui/login", email: str = EMAIL
    ) -> httpx2.Response:
        fields = await self.form(path)
        return await self.post("/ui/login", {**fields, "username": email, "password": password})


def hidden(answer: httpx2.Response) -> dict[str, str]:
    return {name: unescape(value) for name, value in _HIDDEN.findall(answer.text)}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_nothing_inline(text: str, *, is_scripted: bool = False) -> None:
    """No script, no style but the common one, nothing that is loaded from elsewhere: the policy of pages would stop it. ``is_scripted``:
    the page may load scripts of ours, and draw.
    """
    barred = {"script", "style", "img", "iframe", "object", "base", "embed", "svg"}
    if is_scripted:
        barred -= {"script", "svg"}
    reader = _Tags()
    reader.feed(text)
    assert reader.found
    for tag, attributes in reader.found:
        assert tag not in barred
        assert tag != "script" or (attributes.get("src") or "").startswith("/ui/assets/")
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("href", "src", "action"):
            link = attributes.get(name) or "/ui"
            assert link.startswith(("/ui", "#", "?")) or link == "data:,", link
    labelled = {attributes.get("for") for tag, attributes in reader.found if tag == "label"}
    inputs = [
        attributes
        for tag, attributes in reader.found
        if tag in {"input", "select", "textarea"} and attributes.get("type") != "hidden"
    ]
    assert {attributes["id"] for attributes in inputs} == labelled
    assert [tag for tag, _ in reader.found].count("h1") == 1
