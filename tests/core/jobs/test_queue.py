"""What is refused when a job is submitted."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field

from app.core.jobs import Job, JobRejected, JobRun, job
from app.settings import Settings
from tests.core.jobs.workbench import Workbench, working

pytestmark = pytest.mark.usefixtures("own_jobs")
NOW = datetime.now(UTC)
A_YEAR = timedelta(days=366)


class Nothing(BaseModel):
    """All that it needs."""


@job("later", queue="later")
async def later(_arguments: Nothing, _run: JobRun) -> None: ...


class Order(BaseModel):
    """Has names of its own outside, and says more than it takes."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)

    number: int = Field(alias="orderNumber")
    weight: float = Field(default=1.0, serialization_alias="kg")
    note: Any = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_heavy(self) -> bool:
        return self.weight > 100


class Hidden(BaseModel):
    """What it needs does not leave it."""

    word: str = Field(exclude=True)


@job("ship", queue="later")
async def ship(_arguments: Order, _run: JobRun) -> None: ...


@job("hide", queue="later")
async def hide(_arguments: Hidden, _run: JobRun) -> None: ...


@pytest.fixture(scope="module")
async def bench(settings: Settings) -> AsyncIterator[Workbench]:
    async with working(settings, ()) as bench:
        yield bench


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"run_at": NOW + timedelta(days=367)}, "run_at of later must be within 366 days of now, not 20"),
        ({"run_at": NOW - timedelta(days=367)}, "within 366 days"),
        ({"run_at": datetime.max.replace(tzinfo=UTC)}, "within 366 days"),
        ({"run_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))}, "within 366 days"),
        ({"run_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "within 366 days"),
        ({"run_at": NOW.replace(tzinfo=None)}, "needs a time zone"),
        ({"run_at": NOW, "delay_s": 1}, "no delay beside it"),
        ({"delay_s": A_YEAR.total_seconds() + 1}, "must be 0 to 31,622,400 seconds, not 31622401.0"),
        ({"delay_s": -1}, "must be 0 to"),
        ({"delay_s": float("nan")}, "must be 0 to"),
        ({"unique_key": ""}, "1 to 200 characters"),
        ({"unique_key": "k" * 201}, "1 to 200 characters"),
    ],
)
async def test_options_that_make_no_sense_are_refused_by_name(
    bench: Workbench, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(JobRejected, match=words) as refused:
        await bench.enqueue(later, Nothing(), **options)
    assert refused.value.status == 422


async def test_an_id_that_does_not_say_when_it_was_made_is_the_callers_mistake(bench: Workbench) -> None:
    with pytest.raises(ValueError, match="version 7"):
        await bench.enqueue(later, Nothing(), job_id=uuid4())


async def test_a_job_may_be_due_nearly_a_year_away_or_ago(bench: Workbench) -> None:
    for run_at in (NOW + A_YEAR - timedelta(hours=1), NOW - A_YEAR + timedelta(hours=1)):
        added = await bench.enqueue(later, Nothing(), run_at=run_at)
        assert (await bench.row(added.id)).run_at == run_at
        await bench.drop(added.id)


def test_what_a_worker_reads_is_what_was_submitted_whatever_its_fields_are_called_outside() -> None:
    order = Order(orderNumber=7, weight=120.5, note=[1, "two"])
    assert ship.unpack(ship.pack(order)) == order
    assert ship.unpack(b'{"orderNumber": 7, "weight": 120.5, "note": [1, "two"]}') == order


@pytest.mark.parametrize(
    ("one", "arguments", "words"),
    [
        (ship, Order(orderNumber=7, weight=float("inf")), "does not take these arguments: weight"),
        (
            ship,
            Order(orderNumber=7).model_copy(update={"number": "x"}),
            "does not take these arguments: number",
        ),
        (hide, Hidden(word="open"), "does not take these arguments: word"),
        (ship, Order(orderNumber=7, note=object()), "are no JSON"),
        (ship, Order(orderNumber=7, note="\ud800"), "are no JSON"),
        (ship, Order(orderNumber=7, note=b"\xff"), "are no JSON"),
        (ship, Nothing(), "takes Order, not Nothing"),
    ],
)
async def test_arguments_that_a_worker_could_not_read_are_refused(
    bench: Workbench, one: Job[Any], arguments: BaseModel, words: str
) -> None:
    with pytest.raises(JobRejected, match=words) as refused:
        await bench.enqueue(one, arguments)
    assert refused.value.status == 422
