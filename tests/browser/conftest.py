"""The whole service on a port of this machine, and a real Chromium that looks at it. Only with ``--browser`` (``make browser``)."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Playwright, async_playwright

from app.builtin.accounts.service import create_user
from app.core.db import Database, get_db_context
from app.core.security import PasswordHasher
from app.main import create_app
from app.registry import FEATURES
from app.settings import Settings
from tests.apps import client_of, running, served
from tests.browser.screens import EMAIL, PASSWORD, Screens
from tests.browser.seeded import seed
from tests.browser.seeded_jobs import seed_jobs
from tests.browser.shop import SHOP

ARTIFACTS = Path(__file__).parent / "artifacts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--browser", action="store_true", help="run the tests in a real Chromium")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ARTIFACTS.is_dir():
        count = len(list(ARTIFACTS.glob("*.png")))
        terminalreporter.write_line(f"{count} screenshots are in {ARTIFACTS}")


def chromium_path() -> str:
    """The browser of this machine. Raises LookupError when there is none: these tests never pass without one."""
    found = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if found is None:
        raise LookupError("There is no chromium: apt-get install chromium, or set CHROMIUM to its path")
    return found


@pytest.fixture(scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
async def chromium(playwright: Playwright) -> AsyncIterator[Browser]:
    browser = await playwright.chromium.launch(
        executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    )
    yield browser
    await browser.close()


@pytest.fixture(scope="session")
async def address(make_settings: Callable[..., Settings], database: Database) -> AsyncIterator[str]:
    """Where the service is, with an administrator who may use the monitor."""
    hasher = PasswordHasher()
    async with get_db_context(database) as db:
        await create_user(
            db,
            hasher,
            EMAIL,
            PASSWORD,
            roles=["admin"],
            scopes=["read:policies", "read:monitor", "write:monitor", "read:jobs", "write:jobs"],
        )
    hasher.close()
    made = create_app(make_settings(monitor={"track_latency": True}), registry=(*FEATURES, SHOP))
    async with running(made) as app:
        await seed(app, database)
        await seed_jobs(database)
        async with client_of(app) as client:
            for count in (25, 30):
                assert (await client.get(f"/shop/orders?count={count}")).status_code == 200
        async with served(app) as port:
            yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
async def screens(chromium: Browser, address: str) -> Screens:
    """Chromium with the administrator signed in."""
    shutil.rmtree(ARTIFACTS, ignore_errors=True)
    ARTIFACTS.mkdir(parents=True)
    screens = Screens(chromium, address, ARTIFACTS)
    await screens.sign_in()
    return screens
