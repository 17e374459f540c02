from app.core.errors import Unavailable
from app.core.valkey import StoreDown, StoreError, StoreOverloaded, StoreReplyError, StoreTimeout
from app.core.valkey._errors import to_error
from tests.cases import each_case


@each_case("kind", [StoreDown, StoreTimeout, StoreOverloaded, StoreReplyError])
def test_all_are_store_errors_with_503(kind: type[StoreError]) -> None:
    assert issubclass(kind, StoreError)
    assert issubclass(kind, Unavailable)
    assert kind.status == 503


def test_error_reply_is_no_outage_and_is_not_taken_for_one() -> None:
    assert not issubclass(StoreReplyError, StoreDown | StoreTimeout | StoreOverloaded)
    assert not isinstance(to_error("WRONGTYPE Operation against a key"), StoreDown)


def test_callers_of_the_api_do_not_see_the_technical_reason() -> None:
    error = StoreDown("cannot connect: ConnectionRefusedError")
    assert str(error) == error.reason == "cannot connect: ConnectionRefusedError"
    assert "connect" not in (error.detail or "")
    assert error.headers == {"Retry-After": "1"}


@each_case(
    "text",
    [
        "LOADING Valkey is loading the dataset in memory",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Errors writing to the AOF file",
        "NOREPLICAS Not enough good replicas to write.",
        "BUSY Valkey is busy running a script.",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair",
    ],
)
def test_states_of_the_server_are_outages(text: str) -> None:
    error = to_error(text)
    assert isinstance(error, StoreDown)
    assert text.partition(" ")[0] in error.reason


@each_case(
    ("text", "reason"),
    [
        ("WRONGTYPE Operation against a key", "Valkey answered WRONGTYPE to admit"),
        ("ERR unknown command 'FOO', with args beginning with: 's3cret'", "Valkey answered ERR to admit"),
        (
            "ERR user_script:7: boom s3cret script: 00ff, on @user_script:7.",
            "Valkey answered ERR to admit at line 7",
        ),
        (
            "ERR user_script:3: attempt to perform arithmetic on local 'x' (a nil value) script: 00ff",
            "Valkey answered ERR to admit at line 3: attempt to perform arithmetic on local 'x' (a nil value)",
        ),
        ("no code at all: s3cret", "Valkey answered ERR to admit"),
    ],
)
def test_reason_holds_code_script_and_line_but_no_values(text: str, reason: str) -> None:
    error = to_error(text, "admit")
    assert isinstance(error, StoreReplyError)
    assert str(error) == reason
    assert "s3cret" not in f"{error} {error!r}"
