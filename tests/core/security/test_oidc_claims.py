"""What the claims of an issuer's token make of its bearer, and which are no access token for us."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.context import Principal
from app.core.errors import ConfigurationError
from app.core.security import InvalidToken, NameMapping, OidcIssuer, known_roles, known_scopes, oidc_user_id
from app.core.security._oidc_claims import OidcRules
from tests.cases import each_case
from tests.core.security.issuers import AUDIENCE, ROLES, SCOPES, access_claims
from tests.core.security.supabase import NOW

ISSUER = "https://id.example/realm"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def rules(**options: Any) -> OidcRules:
    given = {"scopes": SCOPES, "roles": ROLES, **options}
    return OidcRules(OidcIssuer(issuer=ISSUER, audience=AUDIENCE, **given))


def principal(of: OidcRules | None = None, *, header: Any = "at+jwt", **changes: Any) -> Principal:
    claims = {**access_claims(ISSUER), **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    said = {"typ": header} if header is not None else {}
    return (of or rules()).principal(said, kept, NOW)


def reason(of: OidcRules | None = None, **changes: Any) -> str:
    with pytest.raises(InvalidToken) as caught:
        principal(of, **changes)
    return caught.value.reason


class TestPrincipal:
    def test_the_bearer_is_his_issuer_and_subject_with_what_is_mapped(self) -> None:
        caller = principal()
        assert caller.id == str(oidc_user_id(ISSUER, "user|1"))
        assert caller.scopes == {"read:records"}
        assert caller.roles == {"db_reader"}
        assert (caller.issued_at, caller.expires_at) == (NOW, NOW + 3600)
        assert (caller.token_id, caller.session_id) == ("token-1", None)
        assert (caller.methods, caller.authenticated_at) == ((), 0.0)

    def test_without_a_mapping_there_are_no_rights_whatever_the_token_says(self) -> None:
        caller = principal(
            rules(scopes=NameMapping(), roles=NameMapping()),
            scope="read:records admin", roles=["admin"], scp=["write:records"], permissions=["admin"], groups=["admin"],
        )  # fmt: skip
        assert (caller.scopes, caller.roles) == (frozenset(), frozenset())

    @each_case(
        ("value", "scopes"),
        [
            ("gh:read gh:write", {"read:records", "write:records"}),
            (["gh:read", "gh:write", 7, None], {"read:records", "write:records"}),
            ("read write read:records", set()),
            ("gh:gh:read GH:read gh:read:records", set()),
            ({"gh:read": True}, set()),
            (7, set()),
            ("", set()),
        ],
    )
    def test_only_the_words_that_were_named_count(self, value: Any, scopes: set[str]) -> None:
        assert principal(scope=value).scopes == scopes

    @each_case("value", [None, "reader", ["reader"], {"roles": {"reader": 1}}, {"other": ["reader"]}])
    def test_a_path_that_does_not_lead_there_gives_nothing(self, value: Any) -> None:
        assert principal(realm_access=value).roles == frozenset()

    def test_a_name_that_nobody_registered_gives_nothing(self) -> None:
        mapping = NameMapping(claim=("scope",), names={"gh:read": "read:nothing-known"})
        assert principal(rules(scopes=mapping)).scopes == frozenset()

    def test_how_he_proved_himself_is_believed_only_of_an_issuer_of_whom_that_is_said(self) -> None:
        caller = principal(rules(trust_authentication=True))
        assert (caller.methods, caller.authenticated_at) == (("pwd", "otp"), NOW - 60)
        odd = principal(rules(trust_authentication=True), amr="otp", auth_time=NOW + 5)
        assert (odd.methods, odd.authenticated_at) == ((), 0.0)

    def test_a_mapping_is_whole_or_absent_and_not_endless(self) -> None:
        halves: list[Any] = [{"claim": ("scope",)}, {"names": {"a": "b"}}]
        for half in halves:
            with pytest.raises(ConfigurationError, match="neither"):
                NameMapping(**half)
        with pytest.raises(ConfigurationError, match="64"):
            NameMapping(claim=("scope",), names={str(n): "x" for n in range(65)})


class TestKind:
    @each_case("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
    def test_what_says_that_it_is_an_access_token_is_one(self, typ: str) -> None:
        assert principal(header=typ, scope=None, client_id=None).token_id == "token-1"

    @each_case("typ", ["JWT", "jwt", None])
    def test_what_does_not_say_so_is_one_only_where_that_was_chosen(self, typ: str | None) -> None:
        assert reason(header=typ) == "typ"
        assert principal(rules(plain_jwt=True), header=typ).token_id == "token-1"
        bare = {"scope": None, "client_id": None}
        assert reason(rules(plain_jwt=True), header=typ, **bare) == "scope"

    @each_case("typ", ["JOSE", "dpop+jwt", "logout+jwt", "secevent+jwt", "rt+jwt", "", 1, ["JWT"]])
    def test_another_kind_is_refused_always(self, typ: Any) -> None:
        for of in (rules(), rules(plain_jwt=True)):
            assert reason(of, header=typ) == "typ"

    @each_case("header", ["at+jwt", "JWT"])
    @each_case(
        ("name", "value"),
        [
            ("nonce", "n"), ("at_hash", "h"), ("c_hash", "h"), ("s_hash", "h"), ("cnf", {"jkt": "x"}), ("azp", AUDIENCE), ("typ", "ID"),
            ("typ", "Refresh"), ("typ", 1), ("token_use", "id"), ("token_use", ["access"]),
        ],
    )  # fmt: skip
    def test_an_id_token_a_refresh_token_and_one_bound_to_a_key_are_refused(
        self, header: str, name: str, value: Any
    ) -> None:
        assert reason(rules(plain_jwt=True), header=header, **{name: value}) == name

    @each_case("changes", [{"azp": "an-app"}, {"typ": "Bearer"}, {"token_use": "access"}])
    def test_what_access_tokens_say_of_themselves_is_fine(self, changes: dict[str, Any]) -> None:
        assert principal(**changes).token_id == "token-1"


class TestRefused:
    @each_case(
        ("changes", "at_fault"),
        [
            ({"iss": f"{ISSUER}/"}, "iss"), ({"iss": [ISSUER]}, "iss"), ({"aud": None}, "aud"), ({"aud": "other"}, "aud"),
            ({"aud": [AUDIENCE, 7]}, "aud"),
            ({"aud": {}}, "aud"), ({"sub": None}, "sub"), ({"sub": ""}, "sub"), ({"sub": "x" * 256}, "sub"), ({"sub": "a b"}, "sub"),
            ({"sub": "\u00e4"}, "sub"), ({"sub": 7}, "sub"), ({"exp": None}, "exp"), ({"exp": NOW + 3600.5}, "exp"), ({"exp": True}, "exp"),
            ({"exp": NOW}, "exp"), ({"exp": NOW - 1, "iat": NOW - 9}, "expired"), ({"exp": NOW + 86_401}, "exp"), ({"exp": 10**20}, "exp"),
            ({"exp": -1}, "exp"), ({"iat": None}, "iat"), ({"iat": NOW + 6}, "iat"), ({"nbf": NOW + 6}, "nbf"), ({"nbf": "soon"}, "nbf"),
            ({"jti": 7}, "jti"), ({"sid": ["x"]}, "sid"),
        ],
    )  # fmt: skip
    def test_the_claim_at_fault_is_named(self, changes: dict[str, Any], at_fault: str) -> None:
        assert reason(**changes) == at_fault

    def test_an_audience_among_others_is_enough(self) -> None:
        assert principal(aud=["other", AUDIENCE]).token_id == "token-1"

    @settings(deadline=None, max_examples=50)
    @given(
        st.dictionaries(
            st.sampled_from([*access_claims(ISSUER), "azp", "nonce", "scp", "sid", "nbf", "token_use"]), JSON
        )
    )
    def test_whatever_the_claims_are_it_is_a_refusal_or_somebody_with_known_rights(
        self, changes: dict[str, Any]
    ) -> None:
        try:
            caller = principal(rules(plain_jwt=True, trust_authentication=True), header="JWT", **changes)
        except InvalidToken:
            return
        assert caller.scopes <= known_scopes.keys()
        assert caller.roles <= known_roles.keys()
