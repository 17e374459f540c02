"""The examples of docs/building-blocks.md run as they stand there."""

from uuid import uuid4

import pytest

from app.core.context import Principal
from app.core.db import Database
from app.core.policies import InsufficientCredits
from app.registry import Feature
from app.settings import Settings
from tests.credited import CREDITS, balance_of, give
from tests.gated import bearer, serving
from tests.test_docs import ROOT, blocks, module

PAGE = ROOT / "docs" / "building-blocks.md"
pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


async def test_the_endpoint_is_limited_and_paid_for(settings: Settings, database: Database) -> None:
    example = module("reports", blocks(PAGE, "python")[0])
    feature = Feature(
        name="reports", router=example.router, open_routes={"/reports/{report_id}": "guarded by hand"}
    )
    user = uuid4()
    await give(database, str(user), 9)
    headers = bearer(user, scopes=["read:records"], roles=["db_reader"])
    async with serving(settings, CREDITS, feature) as service:
        answers = [await service.client.get("/reports/7", headers=headers) for _ in range(5)]
        stranger = await service.client.get("/reports/7", headers=bearer(user))
        unknown = await service.client.get("/reports/7")
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 402]
    assert answers[0].json() == {"id": 7, "owner": str(user)}
    assert (stranger.status_code, unknown.status_code) == (403, 401)
    assert await balance_of(database, str(user)) == 1_000_000


async def test_the_job_is_paid_for(settings: Settings, database: Database) -> None:
    example = module("summaries", blocks(PAGE, "python")[1])
    ann = Principal("ann", scopes=frozenset({"run:cpu_job"}))
    await give(database, "ann", 15)
    async with serving(settings, CREDITS) as service:
        engine = service.platform.engine
        assert await example.summarise(engine, ann, "job 7") == 42
        assert await balance_of(database, "ann") == 5_000_000
        with pytest.raises(InsufficientCredits):
            await example.summarise(engine, ann, "job 8")
