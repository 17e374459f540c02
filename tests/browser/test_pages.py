"""Every page at the width of a telephone and of a desk, by day and by night."""

import pytest

from tests.browser.screens import NARROW, WIDE, Colors, Screens, assert_contrast, assert_fits, assert_readable

M = "/ui/db-monitor"
PATHS = {
    "pages": "/ui",
    "policies": "/ui/policies",
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


@pytest.mark.parametrize("colors", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", PATHS)
async def test_a_page_loads_without_complaints_and_fits(
    screens: Screens, name: str, width: int, colors: Colors
) -> None:
    async with screens.open(PATHS[name], width=width, colors=colors) as page:
        await screens.keep(page, f"{name}-{width}-{colors}")
        await assert_fits(page)
        await assert_readable(page)
        await assert_contrast(page)
