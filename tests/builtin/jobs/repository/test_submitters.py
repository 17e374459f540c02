"""Who submitted a job: what the row keeps comes back, and nothing that could not be read gets into it."""

import pytest
from sqlalchemy import text

from app.builtin.jobs.repository.submitters import packed_submitter, unpacked_submitter
from app.core.context import Principal
from app.core.db import Database, InvalidValue, translate_errors
from tests.builtin.jobs.rows import insert_jobs
from tests.cases import each_case

pytestmark = pytest.mark.usefixtures("clean_database")


async def write(database: Database, submitter: str | None) -> str | None:
    (job_id,) = await insert_jobs(database, "queued")
    change = text(
        "UPDATE jobs SET submitter = CAST(:it AS jsonb) WHERE id = :id RETURNING CAST(submitter AS text)"
    )
    async with database.session() as session:
        with translate_errors():
            found: str | None = await session.scalar(change, {"it": submitter, "id": job_id})
            await session.commit()
    return found


@each_case(
    "submitter",
    [
        None,
        Principal("ann", frozenset(), frozenset()),
        Principal("ann", frozenset({"read:x"}), frozenset({"a", "b"}), tenant_id="t"),
    ],
)
async def test_what_is_kept_comes_back(database: Database, submitter: Principal | None) -> None:
    assert unpacked_submitter(await write(database, packed_submitter(submitter)["submitter"])) == submitter


async def test_rights_that_are_no_words_are_none_that_anybody_asks_for(database: Database) -> None:
    found = unpacked_submitter(
        await write(database, '{"id": "ann", "scopes": [["a"]], "roles": [1], "tenant_id": null}')
    )
    assert found == Principal("ann", frozenset({"['a']"}), frozenset({"1"}))


@each_case(
    "broken",
    [
        "{}",
        "[]",
        "null",
        '"ann"',
        '{"id": 1, "scopes": [], "roles": [], "tenant_id": null}',
        '{"id": "ann", "scopes": "all", "roles": [], "tenant_id": null}',
        '{"id": "ann", "scopes": [], "roles": null, "tenant_id": null}',
        '{"id": "ann", "scopes": [], "roles": []}',
        '{"id": "ann", "scopes": [], "roles": [], "tenant_id": 1}',
    ],
)
async def test_what_could_not_be_read_is_refused_by_the_table(database: Database, broken: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        await write(database, broken)
    assert caught.value.constraint == "ck_jobs_submitter_is_readable"
