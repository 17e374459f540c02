"""What a Supabase project's claims make of their bearer, and which are refused."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.builtin.accounts.models import User
from app.core.context import Principal
from app.core.security import InvalidToken, known_roles, known_scopes
from app.core.security._supabase_claims import SupabaseRules
from tests.cases import each_case
from tests.core.security.supabase import NOW, USER, claims_of

ISSUER = "https://project.supabase.co/auth/v1"
RULES = SupabaseRules(ISSUER)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def principal(**changes: Any) -> Principal:
    claims = {**claims_of(ISSUER), **changes}
    return RULES.principal({name: value for name, value in claims.items() if value is not None}, NOW)


def reason(**changes: Any) -> str:
    with pytest.raises(InvalidToken) as caught:
        principal(**changes)
    return caught.value.reason


class TestPrincipal:
    def test_a_user_is_who_the_token_says_with_what_administrators_granted(self) -> None:
        user = principal()
        assert user.id == str(USER)
        assert user.roles == {"db_reader"}
        assert user.scopes == {"read:records"}
        assert user.session_id == "b7e1c1de-0f5f-4f0c-9a57-0a8c3b9cb0c4"
        assert (user.token_id, user.tenant_id, user.api_key_id) == (None, None, None)
        assert (user.issued_at, user.expires_at, user.authenticated_at) == (NOW, NOW + 3600, NOW - 60)
        assert user.methods == ("pwd",)

    def test_what_the_user_writes_himself_gives_nothing(self) -> None:
        wishes = {"roles": ["admin"], "scopes": ["write:monitor"], "app_metadata": {"roles": ["admin"]}}
        user = principal(
            user_metadata=wishes,
            app_metadata={},
            roles=["admin"],
            scopes=["write:monitor"],
            scope="write:monitor",
        )
        assert (user.roles, user.scopes) == (frozenset(), frozenset())

    def test_names_that_nobody_registered_are_passed_over(self) -> None:
        granted = {
            "roles": ["owner", "admin", 7, None, ["admin"]],
            "scopes": ["read:records", "*", "READ:records"],
        }
        user = principal(app_metadata=granted)
        assert user.roles == {"admin"}
        assert user.scopes == {"read:records"}

    @each_case("value", ["admin", {"admin": True}, 1, True, None])
    def test_what_is_no_list_gives_nothing(self, value: Any) -> None:
        user = principal(app_metadata={"roles": value, "scopes": value})
        assert (user.roles, user.scopes) == (frozenset(), frozenset())

    @each_case("value", ["admin", ["admin"], 1, None])
    def test_metadata_that_is_no_object_gives_nothing(self, value: Any) -> None:
        assert principal(app_metadata=value).roles == frozenset()

    def test_the_service_role_gives_nothing_by_itself(self) -> None:
        user = principal(role="service_role", app_metadata={})
        assert (user.roles, user.scopes) == (frozenset(), frozenset())

    def test_a_second_factor_is_told_by_the_assurance_level_alone(self) -> None:
        code = [{"method": "otp", "timestamp": NOW}]
        assert principal(amr=code).methods == ()
        assert principal(amr=code, aal="aal2").methods == ("mfa",)
        assert principal(aal="aal2").methods == ("pwd", "mfa")
        assert principal(amr=["password"]).methods == ("pwd",)

    @each_case(
        "amr",
        [
            None,
            [],
            "password",
            ["password"],
            [{"method": "password"}],
            [{"method": "password", "timestamp": str(NOW)}],
            [{"method": "password", "timestamp": NOW + 1}],
            [{"method": "token_refresh", "timestamp": NOW}],
            [{"method": "password", "timestamp": True}],
            [7, None],
        ],
    )
    def test_a_token_that_does_not_tell_when_was_authenticated_long_ago(self, amr: Any) -> None:
        assert principal(amr=amr).authenticated_at == 0

    @settings(deadline=None)
    @given(
        granted=st.dictionaries(
            st.sampled_from(["roles", "scopes", "role", "admin"]),
            st.lists(st.sampled_from([*known_roles, *known_scopes]) | st.text() | st.integers()) | st.text(),
        ),
        wished=st.dictionaries(
            st.sampled_from(["roles", "scopes"]), st.lists(st.sampled_from([*known_roles]))
        ),
    )
    def test_rights_are_always_known_names_that_stand_in_the_administrators_lists(
        self, granted: dict[str, Any], wished: dict[str, Any]
    ) -> None:
        user = principal(app_metadata=granted, user_metadata=wished)
        for rights, known, name in (
            (user.roles, known_roles, "roles"),
            (user.scopes, known_scopes, "scopes"),
        ):
            listed = granted.get(name)
            assert rights <= known.keys()
            assert rights <= (set(listed) if isinstance(listed, list) else set())


class TestClaims:
    @settings(deadline=None)
    @given(
        st.dictionaries(st.sampled_from([*claims_of(ISSUER), "nbf", "jti", "client_id"]), JSON, max_size=4)
    )
    def test_whatever_claims_say_they_are_a_user_or_refused(self, changes: dict[str, Any]) -> None:
        try:
            user = principal(**changes)
        except InvalidToken as refused:
            assert refused.reason in {*changes, "exp", "expired"}  # noqa: PT017 - dates are judged together
        else:
            assert user.rights == Principal(user.id, scopes=user.scopes, roles=user.roles).rights

    @each_case("name", ["iss", "aud", "exp", "iat", "sub", "role"])
    def test_a_token_without_one_of_these_claims_is_refused(self, name: str) -> None:
        assert reason(**{name: None}) == name

    @each_case("name", ["nbf", "jti", "session_id", "amr", "aal", "app_metadata", "user_metadata", "email"])
    def test_all_other_claims_may_be_absent(self, name: str) -> None:
        assert principal(**{name: None}).id == str(USER)

    @each_case(
        "iss", ["", ISSUER + "/", ISSUER.upper(), "supabase", "https://other.supabase.co/auth/v1", [ISSUER]]
    )
    def test_another_issuer_is_refused(self, iss: Any) -> None:
        assert reason(iss=iss) == "iss"

    @each_case("aud", ["", "anon", "Authenticated", "service_role", [], ["anon"], ["authenticated", 1], 1])
    def test_another_audience_is_refused(self, aud: Any) -> None:
        assert reason(aud=aud) == "aud"

    def test_a_list_of_audiences_with_ours_among_them_is_accepted(self) -> None:
        assert principal(aud=["other", "authenticated"]).id == str(USER)

    @each_case("role", ["anon", 1, True, ["authenticated"]])
    def test_nobody_has_signed_in_as_anon(self, role: Any) -> None:
        assert reason(role=role) == "role"

    @each_case("value", [True, 1, "false", "true", []])
    def test_an_anonymous_user_has_not_signed_in(self, value: Any) -> None:
        assert reason(is_anonymous=value) == "is_anonymous"

    def test_an_application_of_others_that_acts_for_a_user_is_not_the_user(self) -> None:
        assert reason(client_id="9a8b7c6d-5e4f-4a2b-8c0d-9e8f7a6b5c4d") == "client_id"

    @each_case(
        "sub",
        [
            "",
            "user-1",
            "3F2B8C1E-5D4A-4E6F-9A7B-0C1D2E3F4A5B",
            "3f2b8c1e5d4a4e6f9a7b0c1d2e3f4a5b",
            "{3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b}",
            "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b\n",
            "00000000-0000-0000-0000-000000000000",
            "0192f0c1-2b3c-7d4e-8f50-617283940a1b",
            "3f2b8c1e-5d4a-5e6f-9a7b-0c1d2e3f4a5b",
            7,
            ["3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b"],
        ],
    )
    def test_a_subject_that_is_no_random_uuid_is_refused(self, sub: Any) -> None:
        assert reason(sub=sub) == "sub"

    def test_no_id_of_our_own_users_can_be_a_users_of_the_project(self) -> None:
        assert reason(sub=str(User.__table__.c.id.default.arg(None))) == "sub"

    @settings(deadline=None)
    @given(st.uuids(version=4), st.sampled_from("012356789abcdef"))
    def test_a_uuid_of_another_version_is_refused(self, theirs: UUID, version: str) -> None:
        text = str(theirs)
        assert reason(sub=text[:14] + version + text[15:]) == "sub"

    @settings(deadline=None)
    @given(st.uuids(version=4))
    def test_every_id_that_supabase_makes_is_accepted(self, theirs: UUID) -> None:
        assert principal(sub=str(theirs)).id == str(theirs)

    @each_case("name", ["jti", "session_id"])
    @each_case("value", ["", "a b", "é", "x" * 256, 1, True])
    def test_an_identifier_that_is_no_visible_ascii_text_is_refused(self, name: str, value: Any) -> None:
        assert reason(**{name: value}) == name

    @each_case("name", ["exp", "iat", "nbf"])
    @each_case("value", [True, 0, -1, 10**30, float(NOW), str(NOW), [NOW], {}])
    def test_a_date_that_is_no_sensible_whole_number_is_refused(self, name: str, value: Any) -> None:
        assert reason(**{name: value}) == name

    def test_a_token_ends_with_its_last_second_and_no_leeway(self) -> None:
        assert reason(iat=NOW - 3600, exp=NOW) == "expired"
        assert principal(iat=NOW - 3600, exp=NOW + 1).expires_at == NOW + 1

    def test_clocks_may_differ_by_five_seconds_for_the_beginning(self) -> None:
        assert principal(iat=NOW + 5, nbf=NOW + 5).issued_at == NOW + 5
        assert reason(iat=NOW + 6) == "iat"
        assert reason(nbf=NOW + 6) == "nbf"

    def test_a_token_lives_a_day_at_most(self) -> None:
        assert principal(exp=NOW + 86_400).id == str(USER)
        assert reason(exp=NOW + 86_401) == "exp"
        assert reason(iat=NOW, exp=NOW) == "exp"
