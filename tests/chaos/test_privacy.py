"""What one process has stored for a caller, another process shows to nobody else."""

from uuid import uuid4

import httpx2

from tests.chaos.stage import ORDER, Caller, Stage
from tests.processes import Api

Pair = tuple[Api, Api]


def is_hit(answer: httpx2.Response) -> bool:
    return "; hit" in answer.headers.get("cache-status", "")


async def test_a_cached_answer_is_shown_to_its_caller_alone(pair: Pair) -> None:
    one, two = pair
    owner = Caller.of(uuid4())
    first = await owner.get(one, "/mine")
    again = await owner.get(two, "/mine")
    assert (first.status_code, again.status_code) == (200, 200)
    assert is_hit(again)
    assert again.content == first.content

    stranger = await Caller.of(uuid4()).get(two, "/mine")
    anonymous = await two.client.get("/mine")
    downgraded = await Caller.of(owner.user, scopes=()).get(two, "/mine")
    assert (stranger.status_code, is_hit(stranger)) == (200, False)
    assert (anonymous.status_code, downgraded.status_code) == (401, 403)
    secret = first.json()["secret"]
    assert not any(secret in answer.text for answer in (stranger, anonymous, downgraded))


async def test_fewer_rights_are_another_answer_also_where_they_suffice(pair: Pair) -> None:
    owner = uuid4()
    first = await Caller.of(owner).get(pair[0], "/mine")
    reader = await Caller.of(owner, scopes=("read:records",), roles=()).get(pair[1], "/mine")
    assert (first.status_code, reader.status_code) == (200, 200)
    assert not is_hit(reader)
    assert reader.json()["secret"] != first.json()["secret"]


async def test_where_anonymous_callers_are_let_in_they_have_an_answer_of_their_own(pair: Pair) -> None:
    one, two = pair
    owner, address = Caller.of(uuid4()), {"X-Forwarded-For": "198.51.100.7"}
    own = await owner.get(one, "/news", address)
    nobodys = await two.client.get("/news", headers=address)
    elsewhere = await two.client.get("/news", headers={"X-Forwarded-For": "198.51.100.8"})
    assert {answer.status_code for answer in (own, nobodys, elsewhere)} == {200}
    assert [answer.json()["owner"] for answer in (own, nobodys)] == [str(owner.user), None]
    assert len({answer.json()["secret"] for answer in (own, nobodys, elsewhere)}) == 3

    assert (await owner.get(two, "/news", address)).content == own.content
    assert (await one.client.get("/news", headers=address)).content == nobodys.content


async def test_a_key_replays_for_its_caller_alone(stage: Stage, pair: Pair) -> None:
    one, two = pair
    owner, stranger, key = Caller.of(uuid4()), Caller.of(uuid4()), uuid4().hex
    first = await owner.post(one, "/sent", key)
    theirs = await stranger.post(two, "/sent", key)
    assert (first.status_code, theirs.status_code) == (201, 201)
    assert "idempotent-replayed" not in theirs.headers
    assert theirs.json()["owner"] == str(stranger.user)

    anonymous = await two.client.post("/sent", json=ORDER, headers={"Idempotency-Key": key})
    downgraded = await Caller.of(owner.user, scopes=("read:records",)).post(two, "/sent", key)
    assert (anonymous.status_code, downgraded.status_code) == (401, 403)
    assert not any(str(owner.user) in answer.text for answer in (theirs, anonymous, downgraded))

    again = await owner.post(two, "/sent", key)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert [await stage.rows(caller.user, "sent") for caller in (owner, stranger)] == [["tea"], ["tea"]]
