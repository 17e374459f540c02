"""Ends that the store refuses: none is dropped, because its job would be in work for ever."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from app.core.db import SerializationFailure
from app.core.jobs import JobStore, Outcome
from app.core.jobs.worker._finisher import Finisher

WORKER = uuid4()


class Store:
    """Of a JobStore what writes ends. ``refusals``: raised one after the other."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        self.written: list[Outcome] = []

    async def finish(self, _worker: UUID, outcomes: Sequence[Outcome]) -> frozenset[UUID]:
        if self.refusals:
            raise self.refusals.pop(0)
        self.written += outcomes
        return frozenset(one.job_id for one in outcomes)


def finisher_of(store: Store) -> Finisher:
    return Finisher(cast("JobStore", store), WORKER)


def end(status: Any = "succeeded", **values: Any) -> Outcome:
    return Outcome(uuid4(), 1, status, **values)


async def test_whoever_was_in_the_way_of_another_tries_again_and_has_not_failed() -> None:
    store, outcome = Store(SerializationFailure(), SerializationFailure()), end(result=b"1")
    finisher = finisher_of(store)
    finisher.add(outcome)
    assert outcome.job_id in finisher
    await finisher.flush()
    assert store.written == [outcome]
    assert outcome.job_id not in finisher


@pytest.mark.parametrize("status", ["failed", "dead", "cancelled", "queued"])
async def test_an_end_without_a_result_is_written_without_its_words(status: str) -> None:
    store, outcome = Store(ValueError("surrogates")), end(status, error="\ud800", delay_s=1e300)
    finisher = finisher_of(store)
    finisher.add(outcome)
    await finisher.flush()
    (written,) = store.written
    assert (written.job_id, written.status, written.error) == (
        outcome.job_id, status, "Its end cannot be stored.",
    )  # fmt: skip
    assert written.delay_s <= 60
    assert outcome.job_id not in finisher


async def test_what_is_refused_without_words_too_is_kept_as_it_was_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.core.jobs.worker._finisher._REFUSED_S", 0.001)
    store, outcome = Store(*[RuntimeError("the ledger is broken")] * 4), end(result=b"1", cost_micro=5)
    finisher = finisher_of(store)
    finisher.add(outcome)
    while outcome.job_id in finisher:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    assert store.written == [outcome]


async def test_what_is_refused_is_given_up_with_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.jobs.worker._finisher._REFUSED_S", 0.001)
    store, outcome = Store(RuntimeError("broken"), RuntimeError("broken")), end()
    finisher = finisher_of(store)
    finisher.add(outcome)
    while store.refusals:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    assert not await finisher.flush(1.0)
    assert outcome.job_id in finisher
    assert store.written == []
