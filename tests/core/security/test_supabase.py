"""Tokens of a Supabase project: every way we know to forge one."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import ConfigurationError
from app.core.observability import EventHub
from app.core.resilience import ManualClock
from app.core.security import (
    InvalidToken,
    KeysNotLoaded,
    SupabaseTokens,
    TokenKey,
    TokenService,
)
from tests.cases import each_case
from tests.core.security.forge import sign
from tests.core.security.project import OUR_KEY, Project, project_of
from tests.core.security.supabase import (
    ANOTHER,
    ELLIPTIC,
    NOW,
    RSA_KEY,
    SECRET,
    USER,
    claims_of,
    jwk,
    signed,
    token,
)

PUBLIC_DOCUMENTS = [
    document
    for key in (ELLIPTIC, RSA_KEY)
    for document in (
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwk(key, "first")).encode(),
    )
]


@pytest.fixture
async def project() -> AsyncIterator[Project]:
    """One with published keys of both kinds, and none secret."""
    async with project_of() as project:
        project.publish(jwk(ELLIPTIC, "first"), jwk(RSA_KEY, "rsa"))
        yield project


@pytest.fixture
async def legacy() -> AsyncIterator[Project]:
    """One on its way from the shared secret to published keys."""
    async with project_of(SECRET) as project:
        yield project


async def refused(project: Project, text: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        await project.verify(text)
    assert caught.value.status == 401
    return caught.value.reason


class TestSignature:
    async def test_tokens_of_both_kinds_of_keys_are_accepted(self, project: Project) -> None:
        assert (await project.verify(project.token())).id == str(USER)
        assert (await project.verify(project.token(kid="rsa", key=RSA_KEY, alg="RS256"))).id == str(USER)

    async def test_a_verified_token_is_remembered_until_it_expires(self, project: Project) -> None:
        text = project.token()
        assert (await project.verify(text)) is (await project.verify(text))
        project.clock.advance(3600)
        assert await refused(project, text) == "expired"
        assert len(project.supabase._verified) == 0
        assert await refused(project, text) == "expired"

    async def test_another_key_under_the_id_of_a_published_one_is_refused(self, project: Project) -> None:
        assert await refused(project, project.token(key=ANOTHER)) == "signature"

    @pytest.mark.parametrize(
        ("kid", "alg"), [("first", "RS256"), ("rsa", "ES256"), ("rsa", "RS256"), ("first", "ES256")]
    )
    async def test_an_algorithm_or_key_of_the_other_kind_is_refused(
        self, project: Project, kid: str, alg: str
    ) -> None:
        wrong = RSA_KEY if kid == "first" else ELLIPTIC
        assert await refused(project, project.token(kid=kid, alg=alg, key=wrong)) in {"alg", "signature"}

    @each_case("secret", [None, SECRET])
    @each_case("kid", ["first", "rsa", None])
    async def test_a_public_key_is_no_secret_for_hmac(self, secret: str | None, kid: str | None) -> None:
        async with project_of(secret) as project:
            project.publish(jwk(ELLIPTIC, "first"), jwk(RSA_KEY, "rsa"))
            await project.verify(project.token())
            for document in PUBLIC_DOCUMENTS:
                for alg in ("HS256", "ES256", "RS256"):
                    forged = project.token(kid=kid, alg=alg, key=document)
                    assert await refused(project, forged) in {"alg", "signature", "kid"}

    @pytest.mark.parametrize(
        "alg", ["none", "None", "", "HS384", "HS512", "RS384", "ES384", "PS256", "EdDSA", None, 1, ["ES256"]]
    )
    async def test_every_other_algorithm_is_refused(self, project: Project, alg: Any) -> None:
        assert await refused(project, project.token(alg=alg)) == "alg"

    @pytest.mark.parametrize("kid", [None, 1, ["first"], {"first": 1}])
    async def test_a_token_that_names_no_key_is_refused(self, project: Project, kid: Any) -> None:
        assert await refused(project, project.token(kid=kid)) == "kid"

    @pytest.mark.parametrize(
        "kid", ["", "FIRST", "first\0", "../first", "x' OR 1=1", "https://evil.example/jwks.json"]
    )
    async def test_a_key_id_that_is_not_exactly_a_published_one_is_refused(
        self, project: Project, kid: str
    ) -> None:
        await project.verify(project.token())
        assert await refused(project, project.token(kid=kid)) == "kid"
        assert len(project.upstream.requests) == 1

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("jku", "https://evil.example/jwks.json"),
            ("x5u", "https://evil.example/cert.pem"),
            ("jwk", jwk(ANOTHER, "first")),
            ("x5c", ["MIIB"]),
            ("crit", ["exp"]),
            ("zip", "DEF"),
            ("b64", False),
        ],
    )
    async def test_a_header_that_brings_its_own_key_or_rules_is_refused(
        self, project: Project, name: str, value: Any
    ) -> None:
        assert await refused(project, project.token(header={name: value}, key=ANOTHER)) == "header"

    @pytest.mark.parametrize("typ", ["at+jwt", "jwt", "JOSE", "refresh", 1, ["JWT"]])
    async def test_another_type_is_refused(self, project: Project, typ: Any) -> None:
        assert await refused(project, project.token(header={"typ": typ})) == "typ"

    async def test_the_type_may_be_absent(self, project: Project) -> None:
        assert (await project.verify(project.token(header={"typ": None}))).id == str(USER)

    @settings(deadline=None)
    @given(
        header=st.dictionaries(
            st.sampled_from(["alg", "kid", "typ", "jku", "crit"]),
            st.none()
            | st.sampled_from(["HS256", "ES256", "RS256", "none", "first", "legacy", "JWT"])
            | st.text(),
        ),
        key=st.binary(min_size=1, max_size=64) | st.sampled_from([ANOTHER, *PUBLIC_DOCUMENTS]),
    )
    def test_whatever_a_header_says_a_token_of_another_key_is_refused(self, header: Any, key: Any) -> None:
        verifier = _verifier(secret=SECRET)
        text = token(verifier.issuer, header=header, key=key)
        tokens = TokenService(
            [TokenKey.from_secret(OUR_KEY)],
            issuer="gatehouse",
            audience="gatehouse",
            clock=ManualClock(start=NOW),
            others=[verifier],
        )
        with pytest.raises((InvalidToken, KeysNotLoaded)):
            tokens.verify(text)

    @pytest.mark.parametrize("place", [10, 60, -5])
    async def test_a_changed_token_is_refused(self, project: Project, place: int) -> None:
        text = project.token()
        await project.verify(text)
        other = "A" if text[place] != "A" else "B"
        changed = text[:place] + other + text[place + 1 :]
        assert await refused(project, changed)


class TestLegacySecret:
    async def test_a_token_of_the_secret_is_accepted_and_nothing_is_fetched(self, legacy: Project) -> None:
        for kid in (None, "any/id"):
            text = legacy.token(alg="HS256", kid=kid, key=SECRET.encode())
            assert (await legacy.verify(text)).id == str(USER)
        assert legacy.upstream.requests == []

    async def test_both_systems_serve_while_a_project_changes_over(self, legacy: Project) -> None:
        assert (await legacy.verify(legacy.token())).id == str(USER)
        assert (await legacy.verify(legacy.token(alg="HS256", key=SECRET.encode()))).id == str(USER)

    async def test_another_secret_is_refused(self, legacy: Project) -> None:
        assert await refused(legacy, legacy.token(alg="HS256", key=b"x" * 40)) == "signature"
        assert await refused(legacy, legacy.token(alg="HS256", key=OUR_KEY.encode())) == "signature"

    async def test_without_a_secret_the_algorithm_is_refused(self, project: Project) -> None:
        assert await refused(project, project.token(alg="HS256", key=SECRET.encode())) == "alg"

    async def test_the_secret_does_not_stand_for_a_published_key(self, legacy: Project) -> None:
        await legacy.verify(legacy.token())
        assert await refused(legacy, legacy.token(alg="ES256", key=SECRET.encode())) == "signature"

    @pytest.mark.parametrize("role", ["anon", "service_role"])
    async def test_the_projects_own_keys_are_no_users(self, legacy: Project, role: str) -> None:
        claims = {"iss": "supabase", "ref": "project", "role": role, "iat": NOW, "exp": NOW + 315_360_000}
        key = signed({"alg": "HS256", "typ": "JWT"}, claims, SECRET.encode())
        assert await refused(legacy, key)
        claimed = {**claims, "iss": legacy.supabase.issuer}
        assert (
            await refused(legacy, signed({"alg": "HS256", "typ": "JWT"}, claimed, SECRET.encode())) == "aud"
        )

    @each_case("secret", ["short", "x" * 31])
    def test_a_short_secret_stops_the_start(self, secret: str) -> None:
        with pytest.raises(ConfigurationError, match="32 bytes"):
            _verifier(secret=secret)

    def test_a_public_key_in_its_place_stops_the_start(self) -> None:
        with pytest.raises(ConfigurationError, match="public key"):
            _verifier(secret=json.dumps(jwk(ELLIPTIC, "first")))

    def test_neither_its_repr_nor_a_refusal_shows_the_secret(self) -> None:
        assert SECRET not in repr(_verifier(secret=SECRET))


class TestWhoseTokenItIs:
    async def test_our_key_does_not_sign_for_the_project_nor_the_projects_for_us(
        self, legacy: Project
    ) -> None:
        ours = TokenKey.from_secret(OUR_KEY)
        as_theirs = legacy.token(alg="HS256", kid=ours.kid, key=OUR_KEY.encode())
        assert await refused(legacy, as_theirs) == "signature"
        at = {"iss": "gatehouse", "aud": "gatehouse", "sub": str(uuid4())}
        for header, key in (
            ({"alg": "HS256", "kid": ours.kid, "typ": "at+jwt"}, SECRET.encode()),
            ({"alg": "ES256", "kid": "first", "typ": "at+jwt"}, ELLIPTIC),
            ({"alg": "HS256", "kid": ours.kid, "typ": "JWT"}, SECRET.encode()),
        ):
            forged = signed(header, {**claims_of(legacy.supabase.issuer), **at}, key)
            assert await refused(legacy, forged) in {"signature", "alg", "typ"}
        assert legacy.upstream.requests == []

    @pytest.mark.parametrize("iss", [None, 1, ["x"], {"x": 1}, "", "https://nobody.example/auth/v1"])
    async def test_a_token_of_an_issuer_that_nobody_configured_is_judged_by_our_rules(
        self, project: Project, iss: Any
    ) -> None:
        assert await refused(project, project.token(iss=iss)) == "alg"
        assert await refused(project, sign(claims={"iss": iss})) == "kid"
        assert project.upstream.requests == []

    async def test_a_token_of_ours_is_never_shown_to_the_projects_rules(self, project: Project) -> None:
        text = project.tokens.issue("user-1", scopes=["write:monitor"]).token
        assert (await project.verify(text)).scopes == {"write:monitor"}
        assert project.supabase._verified.get(project.tokens._verified.key(text)) is None

    def test_two_issuers_of_one_name_stop_the_start(self) -> None:
        project = _verifier()
        for issuer, others in ((project.issuer, [project]), ("gatehouse", [project, _verifier()])):
            with pytest.raises(ConfigurationError, match="same name"):
                TokenService(
                    [TokenKey.from_secret(OUR_KEY)],
                    issuer=issuer,
                    audience="gatehouse",
                    clock=ManualClock(),
                    others=others,
                )


def _verifier(secret: str | None = None) -> SupabaseTokens:
    return SupabaseTokens(
        "https://project.supabase.co", clock=ManualClock(start=NOW), hub=EventHub(), secret=secret
    )
