"""What people do on the monitor's pages."""

import asyncio
import re

from playwright.async_api import expect

from tests.browser.screens import Screens, focused_texts
from tests.browser.test_pages import M, look_at

# How many pixels of the chart have the colour of its first line; frames pass until there are some. Read from a copy that is
# made to be read: Chromium complains of a canvas that is read twice and was not, when a frame comes late.
_DRAWN = """async () => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true }); let count = 0;
  for (let frame = 0; frame < 300 && count < 200; frame += 1) {
    await new Promise(requestAnimationFrame);
    const canvas = document.querySelector("#latency canvas");
    probe.fillStyle = getComputedStyle(document.querySelector("#latency")).getPropertyValue("--series-1"); probe.fillRect(0, 0, 1, 1);
    const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
    probe.canvas.width = canvas.width; probe.canvas.height = canvas.height; probe.drawImage(canvas, 0, 0);
    const { data } = probe.getImageData(0, 0, canvas.width, canvas.height);
    count = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at] === r && data[at + 1] === g && data[at + 2] === b) count += 1;
  }
  return count; }"""


async def test_the_keyboard_reaches_everything_in_the_order_of_the_page(screens: Screens) -> None:
    async with screens.open(f"{M}/queries?window=7d") as page:
        reached = await focused_texts(page)
        wanted = [
            "Skip to the content", "All pages", "Sign out", "Sign out everywhere", "Overview", "Queries", "Server",
            "Refresh every 10 seconds", "Window", "Calls, at least", "Show", "The numbers", "Share of time", "Mean",
        ]  # fmt: skip
        assert [text for text in reached if text in wanted] == wanted
        await page.keyboard.press("Home")
    async with screens.open(M) as page:
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "content"


async def test_queries_are_sorted_filtered_and_opened(screens: Screens) -> None:
    async with screens.open(f"{M}/queries?window=7d") as page:
        await page.get_by_role("link", name="Calls").click()
        await expect(page.locator("th[aria-sort=descending]")).to_have_text("Calls")
        await page.get_by_label("Window").select_option("24h")
        await page.get_by_label("Calls, at least").fill("1000")
        await page.get_by_role("button", name="Show").click()
        await page.wait_for_url(re.compile("min_calls=1000"))
        await expect(page.locator("th[aria-sort=descending]")).to_have_text("Calls")
        await page.locator("#list tbody a").first.click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Query")
        await expect(page.locator("#text")).to_contain_text("shop.orders")
        await expect(page.locator("#mean canvas")).to_be_visible()
        await expect(page.locator(".plan .node.critical, .plan .node.warning").first).to_be_visible()
        await expect(page.locator("#advice")).to_be_visible()
        await look_at(screens, page, "query")


async def test_a_chart_has_a_line_of_the_numbers_in_its_table(screens: Screens) -> None:
    async with screens.open(f"{M}/queries?window=7d") as page:
        for colors in ("light", "dark"):
            await page.emulate_media(color_scheme=colors)
            assert await page.evaluate(_DRAWN) >= 200
        await page.locator("#latency .u-over").hover()
        await expect(page.locator("#latency .u-legend")).to_contain_text("ms")


async def test_the_plan_of_a_text_is_shown_and_a_wrong_one_is_explained(screens: Screens) -> None:
    async with screens.open(f"{M}/explain") as page:
        statement = "SELECT * FROM shop.orders WHERE note = 'a secret' ORDER BY created_at"
        await page.get_by_label("One SELECT").fill(statement)
        await page.get_by_label("Run it too").check()
        await page.get_by_role("button", name="Explain").click()
        await expect(page.locator(".plan")).to_contain_text("Seq Scan on shop.orders")
        await expect(page.locator(".plan")).to_contain_text("ran 1 times")
        assert "a secret" not in await page.locator("#live section").first.inner_text()
        await expect(page.locator("#advice")).to_be_visible()
        await look_at(screens, page, "explained")
        assert await page.get_by_label("One SELECT").input_value() == statement


async def test_a_statement_that_is_refused_comes_back_with_the_reason(screens: Screens) -> None:
    async with screens.open(f"{M}/explain", complains_of="422") as page:
        await page.get_by_label("One SELECT").fill("DROP TABLE shop.orders")
        await page.get_by_role("button", name="Explain").click()
        await expect(page.get_by_role("alert")).to_contain_text("cannot be explained")
        assert await page.get_by_label("One SELECT").input_value() == "DROP TABLE shop.orders"


async def test_a_form_that_is_not_of_this_session_is_refused(screens: Screens) -> None:
    async with screens.open(f"{M}/explain", complains_of="403") as page:
        await page.get_by_label("One SELECT").fill("SELECT 1")
        await page.locator("main input[name=csrf_token]").evaluate("it => { it.value = 'x'; }")
        await page.get_by_role("button", name="Explain").click()
        await expect(page.get_by_role("alert")).to_contain_text("does not belong to your session")


async def test_ddl_is_copied(screens: Screens) -> None:
    async with screens.open(f"{M}/indexes") as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.locator("#redundant-list summary").first.click()
        button = page.locator("#redundant-list button[data-copy]").first
        await button.click()
        await expect(button).to_have_text("Copied")
        assert "DROP INDEX CONCURRENTLY" in await page.evaluate("navigator.clipboard.readText()")


async def test_suggested_indexes_are_there_when_they_have_been_worked_out(screens: Screens) -> None:
    async with screens.open(f"{M}/indexes") as page, asyncio.timeout(30):
        while not await page.locator("#suggested ~ article").count():
            await page.reload()
        await expect(page.locator("#suggested ~ article").first).to_contain_text("CREATE INDEX CONCURRENTLY")


async def test_a_page_refreshes_itself_while_it_is_wanted_and_keeps_what_the_reader_opened(
    screens: Screens,
) -> None:
    async with screens.open(f"{M}/indexes") as page:
        await page.locator("#redundant-list summary").first.click()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        await page.evaluate("document.getElementById('live').dataset.old = 'yes'")
        await page.get_by_label("Refresh every").check()
        await expect(page.locator("#live-state")).to_contain_text("Updated")
        await expect(page.locator("#live")).not_to_have_attribute("data-old", "yes")
        await expect(page.locator("#redundant-list details").first).to_have_attribute("open", "")
        assert asked == [page.url]
        # It stays on with the next page, and the clock of the browser says when.
        await page.clock.install()
        await page.get_by_role("link", name="Tables", exact=True).click()
        await expect(page.get_by_label("Refresh every")).to_be_checked()
        await expect(page.locator("#sizes canvas")).to_be_visible()
        asked.clear()
        await page.clock.run_for(10_500)
        await expect(page.locator("#live-state")).to_contain_text("Updated")
        await expect(page.locator("#sizes canvas")).to_be_visible()
        assert asked == [page.url]
        # And waits while nobody sees it.
        await page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await page.clock.run_for(60_000)
        assert asked == [page.url]


async def test_when_the_session_is_over_the_refresh_leads_to_the_form(screens: Screens) -> None:
    async with screens.open(f"{M}/connections", complains_of="ERR_ABORTED") as page:
        await page.context.clear_cookies()
        await page.get_by_label("Refresh every").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert "next=/ui/db-monitor/connections" in page.url
