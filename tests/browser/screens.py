"""Pages in a real browser, and what is asked of each of them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

EMAIL, PASSWORD = "ann@example.com", "correct horse battery staple"
Colors = Literal["light", "dark"]
NARROW, WIDE = 360, 1280


class Screens:
    """Opens pages as somebody who is signed in. Whatever the browser complains of fails the test: errors of scripts, what the Content
    Security Policy stopped, files that are not there.
    """

    def __init__(self, browser: Browser, address: str, artifacts: Path) -> None:
        self._browser = browser
        self.address = address
        self._artifacts = artifacts
        self._state: Any = None

    async def sign_in(self) -> None:
        """By the form, as people do."""
        async with self.open("/ui/login?next=/ui/policies", signed_in=False) as page:
            await page.get_by_label("E-mail address").fill(EMAIL)
            await page.get_by_label("Password").fill(PASSWORD)
            await page.keyboard.press("Enter")
            await page.wait_for_url(f"{self.address}/ui/policies")
            self._state = await page.context.storage_state()

    @asynccontextmanager
    async def open(
        self,
        path: str,
        *,
        width: int = WIDE,
        colors: Colors = "light",
        signed_in: bool = True,
        scripts: bool = True,
        complains_of: str | None = None,
    ) -> AsyncIterator[Page]:
        """The page at ``path``, loaded, in a window of its own. ``complains_of``: what the browser must say, and nothing else."""
        context = await self._browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=colors,
            storage_state=self._state if signed_in else None,
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        complaints: list[str] = []
        try:
            yield await self._opened(context, path, complaints)
        finally:
            await context.close()
        assert [text for text in complaints if complains_of is None or complains_of not in text] == [], (
            complaints
        )
        assert bool(complaints) == (complains_of is not None), "the browser did not complain"

    async def _opened(self, context: BrowserContext, path: str, complaints: list[str]) -> Page:
        page = await context.new_page()

        def said(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                complaints.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
        answer = await page.goto(self.address + path, wait_until="load")
        assert answer is not None
        assert (answer.status, page.url) == (200, self.address + path), (answer.status, page.url)
        return page

    async def keep(self, page: Page, name: str) -> None:
        """A picture of the whole page among the artifacts."""
        await page.screenshot(path=self._artifacts / f"{name}.png", full_page=True)


async def assert_fits(page: Page) -> None:
    """Nothing makes the page itself scroll sideways; wide tables scroll in regions of their own."""
    wide = await page.evaluate(
        """() => { const limit = document.documentElement.clientWidth;
        return document.documentElement.scrollWidth <= limit ? [] : [...document.body.querySelectorAll("*")]
          .filter((it) => it.getBoundingClientRect().right > limit + 1 && !it.closest(".scroll"))
          .map((it) => it.outerHTML.slice(0, 120)); }"""
    )
    assert wide == [], wide
    assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


async def assert_readable(page: Page) -> None:
    """One heading, a name for everything that can be used, no name twice, nothing cut off by a region that cannot be reached."""
    assert await page.locator("h1").count() == 1
    problems = await page.evaluate(
        """() => { const found = [];
        const ids = [...document.querySelectorAll("[id]")].map((it) => it.id);
        ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => found.push(`id twice: ${id}`));
        for (const it of document.querySelectorAll("a, button, summary"))
          if (!it.textContent.trim() && !it.getAttribute("aria-label")) found.push(`no name: ${it.outerHTML}`);
        for (const it of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
          if (!it.labels.length) found.push(`no label: ${it.outerHTML}`);
        for (const it of document.querySelectorAll("div, pre"))
          if (it.scrollWidth > it.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(it).overflowX) && it.tabIndex < 0)
            found.push(`not reachable by keyboard: ${it.outerHTML.slice(0, 120)}`);
        return found; }"""
    )
    assert problems == [], problems


async def assert_contrast(page: Page, least: float = 4.5) -> None:
    """Every text against what is behind it, as WCAG 2.2 (1.4.3) counts it."""
    poor = await page.evaluate(
        """(least) => {
        const parse = (text) => { const found = text.match(/[\\d.]+/g).map(Number); return found.length < 4 ? [...found, 1] : found; };
        const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
          .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
        const behind = (it) => { for (; it; it = it.parentElement) {
            const c = parse(getComputedStyle(it).backgroundColor); if (c[3] === 1) return c; }
          return [255, 255, 255, 1]; };
        const found = new Set();
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
          const it = walker.currentNode.parentElement;
          if (!walker.currentNode.textContent.trim() || !it.checkVisibility()) continue;
          const [a, b] = [light(parse(getComputedStyle(it).color)), light(behind(it))].sort((x, y) => y - x);
          if ((a + .05) / (b + .05) < least) found.add(`${((a + .05) / (b + .05)).toFixed(2)}: ${it.outerHTML.slice(0, 100)}`);
        }
        return [...found]; }""",
        least,
    )
    assert poor == [], poor


async def focused_texts(page: Page, most: int = 40) -> list[str]:
    """What the tab key reaches, in order; each must be seen to have the focus."""
    reached: list[str] = []
    for _ in range(most):
        await page.keyboard.press("Tab")
        text, seen = await page.evaluate(
            """() => { const it = document.activeElement; const style = getComputedStyle(it);
            return [it === document.body ? "" : (it.getAttribute("aria-label") || it.labels?.[0]?.textContent || it.textContent).trim(),
              style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0]; }"""
        )
        if not text:
            break
        assert seen, f"nobody sees that {text!r} has the focus"
        reached.append(re.sub(r"\s+", " ", text))
    return reached
