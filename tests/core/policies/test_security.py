"""Scopes and roles: what is declared, and who passes."""

from typing import Any

import pytest

from app.core.context import Principal
from app.core.policies import ApiKeyRefused, InsufficientScope, RoleMissing, Security

ALL = Security(scopes=("read:records", "write:records"), roles=("db_reader", "admin"))


def caller(scopes: tuple[str, ...] = (), roles: tuple[str, ...] = ()) -> Principal:
    return Principal("someone", scopes=frozenset(scopes), roles=frozenset(roles))


@pytest.mark.parametrize(
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


def test_an_api_key_will_do_unless_only_a_token_does() -> None:
    key, token = Principal("ann", api_key_id="k"), Principal("ann")
    assert Security().refusal(key) is None
    only_tokens = Security(scopes=("read:records",), api_keys=False)
    refusal = only_tokens.refusal(key)
    assert isinstance(refusal, ApiKeyRefused)
    assert refusal.status == 403
    assert isinstance(only_tokens.refusal(token), InsufficientScope)
    assert Security(api_keys=False).refusal(token) is None
