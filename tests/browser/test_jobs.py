"""What people on call do on the pages of jobs."""

from uuid import UUID

from playwright.async_api import expect
from sqlalchemy import text

from app.core.db import Database
from tests.browser.screens import Screens, focused_texts
from tests.browser.seeded import HOSTILE
from tests.browser.seeded_jobs import DEAD, QUEUED, RUNNING, SECRET
from tests.builtin.jobs.rows import insert_jobs

JOBS = "/ui/jobs"


async def status_of(database: Database, job_id: UUID) -> str:
    async with database.session() as session:
        found: str = await session.scalar(text("SELECT status FROM jobs WHERE id = :id"), {"id": job_id})
    return found


async def test_jobs_are_found_from_the_menu_by_their_filters_and_by_what_is_dead(screens: Screens) -> None:
    async with screens.open("/ui") as page:
        await page.get_by_role("link", name="Jobs").click()
        await page.locator("#all-dead").click()
        await expect(page.get_by_label("Status")).to_have_value("dead")
        await expect(page.locator("#list tbody tr")).to_have_count(1)
        await expect(page.locator("#list tbody tr")).to_contain_text(HOSTILE)
        await page.get_by_label("Status").select_option("queued")
        await page.get_by_label("Name").fill("send_mail")
        await page.get_by_role("button", name="Show").click()
        await page.wait_for_url("**/ui/jobs?status=queued&name=send_mail&queue=&owner=&since=")
        await page.locator(f"#job-{QUEUED}").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Job send_mail")
        await expect(page.locator("#times")).to_be_visible()


async def test_the_keyboard_reaches_filters_queues_and_jobs_in_order(screens: Screens) -> None:
    async with screens.open(f"{JOBS}?status=dead") as page:
        reached = await focused_texts(page)
        wanted = [
            "Skip to the content", "Refresh every 10 seconds", "Status", "Name", "Queue", "Owner", "Submitted within", "Show",
            "failed", "Have these run again …",
        ]  # fmt: skip
        assert [text for text in reached if text in wanted] == wanted


async def test_an_operator_retries_and_cancels_without_scripts_after_he_was_asked(
    screens: Screens, database: Database
) -> None:
    (job_id,) = await insert_jobs(database, "failed", name="again")
    async with screens.open(f"{JOBS}/{job_id}", scripts=False) as page:
        button = page.get_by_role("button", name="Yes, retry it")
        await expect(button).to_be_hidden()
        await page.get_by_text("Have it run again").click()
        await button.click()
        await page.wait_for_url(f"**{JOBS}/{job_id}")
        await expect(page.locator("#state")).to_contain_text("queued")
        await page.get_by_text("Cancel this job").click()
        await page.get_by_role("button", name="Yes, cancel it").click()
        await expect(page.locator("#state")).to_contain_text("cancelled")
    assert await status_of(database, job_id) == "cancelled"


async def test_dead_jobs_of_a_list_run_again_together(screens: Screens, database: Database) -> None:
    ids = await insert_jobs(database, "dead", 3, queue="lost")
    async with screens.open(f"{JOBS}?status=dead&queue=lost") as page:
        await page.get_by_text("Have these run again").click()
        await page.get_by_role("button", name="Yes, retry them").click()
        await expect(page.get_by_role("status")).to_have_text("3 jobs were queued again.")
        await screens.keep(page, "jobs-retried")
        await page.get_by_role("link", name="Dead jobs of this list").click()
        await expect(page.get_by_text("No job is like that.")).to_be_visible()
    assert {await status_of(database, job_id) for job_id in ids} == {"queued"}
    assert await status_of(database, DEAD) == "dead"


async def test_an_open_job_is_fetched_again_until_it_has_ended(screens: Screens, database: Database) -> None:
    (job_id,) = await insert_jobs(database, "queued", name="soon", due_s=600)
    async with screens.open(f"{JOBS}/{job_id}") as page:
        await expect(page.locator("#state")).to_contain_text("queued")
        async with database.session() as session:
            await session.execute(
                text("UPDATE jobs SET status = 'succeeded', finished_at = now() WHERE id = :id"),
                {"id": job_id},
            )
            await session.commit()
        await page.get_by_label("Refresh every 5 seconds").check()
        await expect(page.locator("#state")).to_contain_text("succeeded")
        await expect(page.locator("#live-state")).to_have_text("It has ended; nothing more is fetched")
        await expect(page.locator("#live-switch")).to_be_disabled()


async def test_what_jobs_say_becomes_no_markup_and_secrets_are_not_shown(screens: Screens) -> None:
    async with screens.open(f"{JOBS}/{DEAD}") as page:
        assert await page.locator("main img, main script").count() == 0
        await expect(page.locator("#error-text")).to_contain_text(HOSTILE)
        await expect(page.locator("#arguments-text")).to_contain_text("[redacted]")
        assert SECRET not in await page.content()
        await expect(page.locator("#delivery-list")).to_contain_text("job.dead")
    async with screens.open(f"{JOBS}/{RUNNING}") as page:
        await expect(page.locator("dl.facts")).to_contain_text("worker-host-with-a-long-name.internal:4711")
