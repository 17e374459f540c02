"""Which answers are results: kept under their request's key, and given again."""

from fastapi import HTTPException, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse

from app.core.errors import NotAuthenticated, NotFound, Unavailable
from app.core.http._results import Results, is_failure
from app.core.policies import Claim, Idempotency
from app.core.security import Sealer
from tests.cases import each_case

CLAIM = Claim("{u:reader}:v1:i:work:key", "fingerprint", 10_000, 60_000, rerun=False)
SEALER = Sealer(["a key of the tests, thirty-two bytes or more"])


class TestOf:
    @each_case("sealer", [None, SEALER], ids=["plain", "sealed"])
    def test_a_result_comes_back_as_its_replay(self, sealer: Sealer | None) -> None:
        results = Results(Idempotency(headers=("X-Kept",)), sealer)
        response = Response("made", 201, {"Location": "/1", "X-Kept": "yes", "X-Other": "no"}, "text/plain")
        response.set_cookie("session", "secret")
        blob = results.of(response, CLAIM)
        assert blob is not None
        assert (b"made" in blob) is (sealer is None)
        again = results.replay(blob, CLAIM)
        assert (again.status, again.body) == (201, b"made")
        assert {name for name, _ in again.headers} == {
            b"location",
            b"x-kept",
            b"content-type",
            b"idempotent-replayed",
        }

    @each_case("status", [401, 403, 409, 425, 429, 503])
    def test_what_says_not_now_or_not_you_is_none(self, status: int) -> None:
        assert Results(Idempotency(), None).of(Response(status_code=status), CLAIM) is None

    def test_without_a_claim_there_is_none(self) -> None:
        assert Results(None, None).of(Response(), None) is None
        assert Results(Idempotency(), None).of(Response(), None) is None

    @each_case(
        "response",
        [Response(b"12345"), StreamingResponse(iter(["1"]))],
        ids=["too long", "made while it is sent"],
    )
    def test_what_cannot_be_kept_whole_is_known_to_be_done(self, response: Response) -> None:
        results = Results(Idempotency(max_body=4), None)
        blob = results.of(response, CLAIM)
        assert blob is not None
        assert results.replay(blob, CLAIM).body is None

    @each_case(
        ("config", "expected"),
        [(Idempotency(durability="db"), True), (Idempotency(), False), (None, False)],
        ids=["database", "store", "no keys"],
    )
    def test_only_those_in_the_database_are_durable(self, config: Idempotency | None, expected: bool) -> None:
        assert Results(config, None).is_durable is expected


@each_case(
    ("error", "expected"),
    [
        (NotFound("no"), False),
        (NotAuthenticated("who?"), False),
        (HTTPException(422), False),
        (RequestValidationError([]), False),
        (Unavailable("later"), True),
        (HTTPException(502), True),
        (ZeroDivisionError(), True),
        (KeyboardInterrupt(), False),
    ],
    ids=repr,
)
def test_what_is_a_failure_of_ours(error: BaseException, expected: bool) -> None:
    assert is_failure(error) is expected
