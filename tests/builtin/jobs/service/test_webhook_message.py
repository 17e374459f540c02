import json
from datetime import UTC, datetime
from uuid import uuid4

from app.builtin.jobs.service.webhook_message import MOST_BODY, end_message
from app.core.jobs import EndedJob, Status

AT = datetime(2027, 1, 15, 8, tzinfo=UTC)


def ended(status: Status, *, result: bytes | None = None, error: str | None = None) -> EndedJob:
    return EndedJob(uuid4(), "add_up", status, None, False, None, uuid4(), result, error)


def test_it_says_how_the_job_ended() -> None:
    delivery, good, bad = uuid4(), ended("succeeded", result=b'{"sum": 6}'), ended("dead", error="It failed.")
    assert json.loads(end_message(delivery, good, AT)) == {
        "id": str(delivery),
        "type": "job.succeeded",
        "created_at": "2027-01-15T08:00:00+00:00",
        "data": {"job_id": str(good.id), "name": "add_up", "status": "succeeded", "result": {"sum": 6}},
    }
    assert json.loads(end_message(delivery, bad, AT))["data"] == {
        "job_id": str(bad.id),
        "name": "add_up",
        "status": "dead",
        "error": "It failed.",
    }


def test_a_result_that_is_too_long_is_left_out_for_a_link() -> None:
    delivery = uuid4()
    short = end_message(delivery, ended("succeeded", result=b'""'), AT)
    fits = ended("succeeded", result=b'"%b"' % (b"x" * (MOST_BODY - len(short))))
    assert len(end_message(delivery, fits, AT)) == MOST_BODY
    longer = fits._replace(result=b'"%b"' % (b"x" * (MOST_BODY - len(short) + 1)))
    data = json.loads(end_message(delivery, longer, AT))["data"]
    assert (data["link"], "result" in data) == (f"/jobs/{longer.id}", False)
