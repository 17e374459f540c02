"""Scopes and roles: what is declared, and who passes."""

from typing import Any

import pytest

from app.core.context import Principal
from app.core.policies import ApiKeyRefused, InsufficientScope, RoleMissing, Security, StepUpRequired
from app.core.resilience import ManualClock
from tests.cases import each_case

ALL = Security(scopes=("read:records", "write:records"), roles=("db_reader", "admin"))


def caller(scopes: tuple[str, ...] = (), roles: tuple[str, ...] = ()) -> Principal:
    return Principal("someone", scopes=frozenset(scopes), roles=frozenset(roles))


@each_case(
    ("options", "said"),
    [
        ({"scopes": "read:records"}, "scopes is a tuple of names, not 'read:records'"),
        ({"roles": ["admin"]}, r"roles is a tuple of names, not \['admin'\]"),
        ({"scopes": ("",)}, "'' is not a valid name"),
        ({"scopes": ('a"b',)}, "is not a valid name"),
        ({"scopes": ("a b",)}, "is not a valid name"),
        ({"scopes": ("a\\b",)}, "is not a valid name"),
        ({"scopes": ("a\n",)}, "is not a valid name"),
        ({"roles": ("a\r\nSet-Cookie: x",)}, "is not a valid name"),
        ({"scopes": ("ä",)}, "is not a valid name"),
        ({"scopes": ("a" * 129,)}, "is not a valid name"),
        ({"anonymous": True, "scopes": ("a",)}, "anonymous caller has no scopes or roles"),
        ({"anonymous": True, "roles": ("a",)}, "anonymous caller has no scopes or roles"),
        ({"anonymous": True, "mfa": True}, "an anonymous caller has proved nothing"),
        ({"anonymous": True, "max_age": 5}, "an anonymous caller has proved nothing"),
        ({"mfa": 300}, "mfa must be True or False, not 300"),
        ({"max_age": 0}, "max_age must be 1 to 31536000 whole seconds, not 0"),
        ({"max_age": 31_536_001}, "max_age must be 1 to 31536000 whole seconds"),
        ({"max_age": True}, "max_age must be 1 to 31536000 whole seconds, not True"),
        ({"max_age": 1.5}, "max_age must be 1 to 31536000 whole seconds, not 1.5"),
    ],
)
def test_what_could_not_stand_in_a_challenge_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Security(**options)


def test_a_valid_token_is_enough_by_default() -> None:
    assert Security().refusal(caller()) is None


def test_every_scope_and_any_role_let_pass() -> None:
    assert ALL.refusal(caller(("write:records", "read:records", "more"), ("admin",))) is None


def test_a_missing_scope_is_named_and_all_that_is_needed_stands_in_the_challenge() -> None:
    refusal = ALL.refusal(caller(("read:records",), ("admin",)))
    assert isinstance(refusal, InsufficientScope)
    assert (refusal.status, refusal.extensions) == (403, {"missing_scopes": ["write:records"]})
    assert refusal.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="read:records write:records"'
    )


def test_scopes_are_not_prefixes_and_have_case() -> None:
    security = Security(scopes=("read:records",))
    assert security.refusal(caller(("read:record", "read", "READ:RECORDS", "read:records:all"))) is not None


def test_without_any_of_the_roles_nobody_passes() -> None:
    refusal = ALL.refusal(caller(("read:records", "write:records"), ("cpu_user",)))
    assert isinstance(refusal, RoleMissing)
    assert (refusal.status, refusal.extensions) == (403, {"required_roles": ["db_reader", "admin"]})


def test_a_missing_scope_is_told_before_a_missing_role() -> None:
    assert isinstance(ALL.refusal(caller()), InsufficientScope)


def test_equal_requirements_are_equal() -> None:
    assert Security(scopes=("a",)) == Security(scopes=("a",))
    assert Security(scopes=("a",)) != Security(scopes=("b",))


NOW = 1_800_000_000.0


def proved(*methods: str, ago: float = 0, scopes: tuple[str, ...] = ()) -> Principal:
    return Principal("someone", scopes=frozenset(scopes), methods=methods, authenticated_at=NOW - ago)


@each_case(
    ("security", "passes", "refused"),
    [
        (Security(mfa=True), proved("pwd", "otp", "mfa", ago=1e6), proved("pwd", "otp")),
        (Security(max_age=300), proved("pwd", ago=300), proved("pwd", "otp", "mfa", ago=300.5)),
        (Security(mfa=True, max_age=60), proved("mfa", ago=60), proved("mfa", ago=61)),
        (Security(mfa=True, max_age=60), proved("mfa", ago=0), proved("pwd", ago=0)),
        (Security(max_age=31_536_000), proved(), Principal("a key, which never signed in")),
        (Security(mfa=True), proved("mfa"), proved("MFA", "mfa ", "xmfa")),
    ],
)
def test_what_is_too_weak_or_too_old_is_refused(
    security: Security, passes: Principal, refused: Principal
) -> None:
    clock = ManualClock(NOW)
    assert security.refusal(passes, clock) is None
    assert isinstance(security.refusal(refused, clock), StepUpRequired)


@each_case(
    ("security", "header", "body"),
    [
        (Security(mfa=True), ', acr_values="mfa"', {"acr_values": "mfa"}),
        (Security(max_age=300), ', max_age="300"', {"max_age": 300}),
        (
            Security(mfa=True, max_age=5),
            ', acr_values="mfa", max_age="5"',
            {"acr_values": "mfa", "max_age": 5},
        ),
    ],
)
def test_the_challenge_says_what_must_be_proved(
    security: Security, header: str, body: dict[str, Any]
) -> None:
    refusal = security.refusal(proved(ago=1000), ManualClock(NOW))
    assert refusal is not None
    assert refusal.status == 401
    assert refusal.headers == {"WWW-Authenticate": f'Bearer error="insufficient_user_authentication"{header}'}
    assert refusal.extensions == {"error": "insufficient_user_authentication", **body}


def test_a_missing_right_is_told_before_a_missing_proof() -> None:
    security = Security(scopes=("a",), mfa=True)
    assert isinstance(security.refusal(proved(), ManualClock(NOW)), InsufficientScope)
    assert isinstance(security.refusal(proved(scopes=("a",)), ManualClock(NOW)), StepUpRequired)


def test_an_api_key_will_do_unless_only_a_token_does() -> None:
    key, token = Principal("ann", api_key_id="k"), Principal("ann")
    assert Security().refusal(key) is None
    only_tokens = Security(scopes=("read:records",), api_keys=False)
    refusal = only_tokens.refusal(key)
    assert isinstance(refusal, ApiKeyRefused)
    assert refusal.status == 403
    assert isinstance(only_tokens.refusal(token), InsufficientScope)
    assert Security(api_keys=False).refusal(token) is None
