"""Every page at the width of a telephone and of a desk, by day and by night."""

import pytest
from playwright.async_api import Page

from tests.browser.screens import NARROW, WIDE, Screens, assert_contrast, assert_fits, assert_readable
from tests.browser.seeded import HOSTILE
from tests.browser.seeded_jobs import DEAD, RUNNING

M = "/ui/db-monitor"
PATHS = {
    "pages": "/ui",
    "policies": "/ui/policies",
    "jobs": "/ui/jobs",
    "jobs-dead": "/ui/jobs?status=dead",
    "jobs-empty": "/ui/jobs?owner=nobody",
    "job-dead": f"/ui/jobs/{DEAD}",
    "job-running": f"/ui/jobs/{RUNNING}",
    "overview": M,
    "queries": f"{M}/queries?window=7d",
    "explain": f"{M}/explain",
    "indexes": f"{M}/indexes",
    "tables": f"{M}/tables",
    "table": f"{M}/tables/shop.orders",
    "connections": f"{M}/connections",
    "cache": f"{M}/cache",
    "n-plus-one": f"{M}/n-plus-one",
    "server": f"{M}/server",
}


async def look_at(screens: Screens, page: Page, name: str) -> None:
    """In both widths and colours, one after the other in the same window, as when a reader turns his telephone or the evening comes."""
    for width in (NARROW, WIDE):
        await page.set_viewport_size({"width": width, "height": 800})
        await assert_fits(page)
        await assert_readable(page)
        for colors in ("light", "dark"):
            await page.emulate_media(color_scheme=colors)
            await assert_contrast(page)
            await screens.keep(page, f"{name}-{width}-{colors}")


@pytest.mark.parametrize("name", PATHS)
async def test_a_page_loads_without_complaints_fits_and_can_be_read(screens: Screens, name: str) -> None:
    async with screens.open(PATHS[name]) as page:
        await look_at(screens, page, name)


async def test_nothing_that_the_database_holds_becomes_markup(screens: Screens) -> None:
    async with screens.open(f"{M}/tables") as page:
        await page.get_by_role("link", name=f"shop.{HOSTILE}").click()
        await page.get_by_role("heading", level=1).wait_for()
        assert await page.get_by_role("heading", level=1).inner_text() == f"Table shop.{HOSTILE}"
        assert await page.locator("main script").count() == 0


async def test_pages_are_there_without_scripts(screens: Screens) -> None:
    async with screens.open(f"{M}/queries?window=7d", scripts=False) as page:
        assert await page.locator("#live-control").is_hidden()
        assert await page.locator("button[data-copy]").count() == 0
        await page.get_by_text("The numbers").first.click()
        assert await page.locator("#latency-table tbody tr").count() > 10
        await page.get_by_role("link", name="Calls").click()
        assert "sort=calls" in page.url
