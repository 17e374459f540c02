"""Access tokens of any OpenID Connect issuer: whose they are, which keys count, and when these are fetched."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.core.errors import ConfigurationError
from app.core.observability import EventHub
from app.core.resilience import ManualClock
from app.core.security import (
    InvalidToken,
    KeysNotLoaded,
    OidcIssuer,
    OidcTokens,
    TokenKey,
    TokenService,
    oidc_user_id,
)
from app.core.security._remote_keys import COOL_DOWN_S, RETRY_S
from tests.cases import each_case
from tests.core.security.issuers import AUDIENCE, OUR_KEY, Issuer, Verifier, access_claims, trusting
from tests.core.security.supabase import ANOTHER, EDWARDS, ELLIPTIC, NOW, RSA_KEY, jwk, key_set, signed
from tests.upstream import reply

Pair = tuple[Verifier, Issuer]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with trusting() as (verifier, [issuer]):
        yield verifier, issuer


async def refused(verifier: Verifier, text: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        await verifier.verify(text)
    assert caught.value.status == 401
    return caught.value.reason


class TestSignature:
    async def test_tokens_of_all_kinds_of_keys_are_accepted(self, pair: Pair) -> None:
        verifier, issuer = pair
        issuer.publish(jwk(ELLIPTIC, "first"), jwk(RSA_KEY, "rsa"), jwk(EDWARDS, "ed"))
        for alg, key, kid in (
            ("ES256", ELLIPTIC, "first"),
            ("RS256", RSA_KEY, "rsa"),
            ("EdDSA", EDWARDS, "ed"),
        ):
            text = issuer.token(alg=alg, key=key, kid=kid)
            assert (await verifier.verify(text)) is (await verifier.verify(text))
        assert len(issuer.upstream.requests) == 1

    async def test_forged_ones_are_refused(self, pair: Pair) -> None:
        verifier, issuer = pair
        issuer.publish(jwk(ELLIPTIC, "first"), jwk(RSA_KEY, "rsa"))
        await verifier.verify(issuer.token())
        public = ELLIPTIC.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        cases = [
            (issuer.token(key=ANOTHER), "signature"),
            (issuer.token(key=pem), "signature"),
            (issuer.token(alg="HS256", key=pem), "alg"),
            (issuer.token(alg="HS256", key=json.dumps(jwk(ELLIPTIC, "first")).encode()), "alg"),
            (issuer.token(alg="RS256"), "alg"),
            (issuer.token(kid="rsa"), "alg"),
            *[(issuer.token(alg=alg), "alg") for alg in ("none", "None", "", "PS256", "ES384", "Ed25519", None, 1)],
            *[(issuer.token(kid=kid), "kid") for kid in (None, 1, "", "FIRST", "../first", "x' OR 1=1", ["first"])],
            *[
                (issuer.token(key=ANOTHER, header={name: value}), "header")
                for name, value in (
                    ("jwk", jwk(ANOTHER, "first")), ("jku", "https://evil.example"), ("x5u", "https://evil.example"),
                    ("x5c", ["MIIB"]), ("crit", ["exp"]), ("zip", "DEF"), ("b64", False),
                )
            ],
        ]  # fmt: skip
        for text, reason in cases:
            assert await refused(verifier, text) == reason
        assert len(issuer.upstream.requests) == 1

    async def test_a_thumbprint_in_the_header_is_passed_over(self, pair: Pair) -> None:
        verifier, issuer = pair
        assert (await verifier.verify(issuer.token(header={"x5t": "abc"}))).roles == {"db_reader"}

    async def test_an_algorithm_that_is_not_chosen_is_refused(self) -> None:
        async with trusting(algorithms=frozenset({"RS256"})) as (verifier, [issuer]):
            assert await refused(verifier, issuer.token()) == "alg"
            assert issuer.upstream.requests == []

    async def test_a_remembered_token_ends_with_its_time_and_with_its_key(self, pair: Pair) -> None:
        verifier, issuer = pair
        text, late = issuer.token(), issuer.token(now=NOW + 3000)
        await verifier.verify(text)
        verifier.clock.advance(3600)
        assert await refused(verifier, text) == "expired"
        await verifier.verify(late)
        issuer.publish(jwk(ANOTHER, "second"))
        verifier.clock.advance(COOL_DOWN_S)
        new = issuer.token(kid="second", key=ANOTHER, now=verifier.clock.time())
        assert (await verifier.verify(new)).token_id == "token-1"
        assert await refused(verifier, late) == "kid"


class TestKeys:
    async def test_an_unknown_id_is_one_fetch_in_sixty_seconds(self, pair: Pair) -> None:
        verifier, issuer = pair
        await verifier.verify(issuer.token())
        verifier.clock.advance(60)
        for number in range(20):
            assert await refused(verifier, issuer.token(kid=f"made-up-{number}")) == "kid"
        assert len(issuer.upstream.requests) == 2
        verifier.clock.advance(59)
        assert await refused(verifier, issuer.token(kid="made-up")) == "kid"
        assert len(issuer.upstream.requests) == 2

    async def test_an_outage_is_503_and_only_for_its_tokens(self, pair: Pair) -> None:
        verifier, issuer = pair
        issuer.upstream.always(reply(status=500))
        with pytest.raises(KeysNotLoaded) as down:
            await verifier.verify(issuer.token())
        assert down.value.status == 503
        assert verifier.tokens.verify(verifier.tokens.issue("u").token).id == "u"
        issuer.publish(jwk(ELLIPTIC, "first"))
        verifier.clock.advance(RETRY_S)
        assert (await verifier.verify(issuer.token())).token_id == "token-1"
        assert verifier.fetches == ["failed", "fetched"]

    async def test_a_token_that_no_key_could_save_makes_nobody_fetch(self, pair: Pair) -> None:
        verifier, issuer = pair
        for changes in (
            {"aud": "other"}, {"exp": NOW - 1, "iat": NOW - 60}, {"sub": None}, {"nonce": "n"}, {"typ": "JWT"}, {"kid": None}
        ):  # fmt: skip
            assert await refused(verifier, issuer.token(**changes))
        assert issuer.upstream.requests == []


class TestDiscovery:
    @staticmethod
    def described(of: Issuer, /, **changes: Any) -> bytes:
        said = {"issuer": of.url, "jwks_uri": f"{of.url}/certs", **changes}
        return reply({name: value for name, value in said.items() if value is not None})

    async def test_keys_are_where_the_issuer_says_and_it_may_say_something_else_later(self) -> None:
        async with trusting(jwks_url=None) as (verifier, [issuer]):
            issuer.upstream.answers(self.described(issuer), reply(key_set(jwk(ELLIPTIC, "first"))))
            assert (await verifier.verify(issuer.token())).id == str(oidc_user_id(issuer.url, "user|1"))
            verifier.clock.advance(COOL_DOWN_S)
            issuer.upstream.answers(
                self.described(issuer, jwks_uri=f"{issuer.url}/new"), reply(key_set(jwk(ANOTHER, "second")))
            )
            await verifier.verify(issuer.token(kid="second", key=ANOTHER))
            assert [request.split()[1] for request in issuer.upstream.requests] == [
                "/realm/.well-known/openid-configuration", "/realm/certs", "/realm/.well-known/openid-configuration", "/realm/new",
            ]  # fmt: skip

    @each_case(
        ("changes", "reason"),
        [
            ({"issuer": "http://127.0.0.1:1/realm"}, "issuer"),
            ({"issuer": None}, "issuer"),
            ({"jwks_uri": "https://evil.example/keys"}, "address"),
            ({"jwks_uri": "http://127.0.0.1:1/keys"}, "address"),
            ({"jwks_uri": "http://169.254.169.254/latest"}, "address"),
            ({"jwks_uri": "file:///etc/passwd"}, "address"),
            ({"jwks_uri": "/keys"}, "address"),
            ({"jwks_uri": None}, "address"),
            ({"jwks_uri": ["x"]}, "address"),
        ],
    )
    async def test_what_leads_elsewhere_is_not_followed(self, changes: dict[str, Any], reason: str) -> None:
        async with trusting(jwks_url=None) as (verifier, [issuer]):
            issuer.upstream.always(self.described(issuer, **changes))
            with pytest.raises(Exception, match=reason) as caught:
                await verifier.others[0]._endpoint.fetch()
            assert type(caught.value).__name__ == "KeysNotRead"
            assert len(issuer.upstream.requests) == 1

    async def test_a_redirect_is_not_followed_and_nonsense_is_not_read(self) -> None:
        async with trusting(jwks_url=None) as (verifier, [issuer]):
            redirect = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
            issuer.upstream.answers(
                redirect, reply(body=b"<html>"), reply(body=b"[]"), reply(body=b" " * 70_000)
            )
            for _ in range(4):
                with pytest.raises(KeysNotLoaded):
                    await verifier.verify(issuer.token())
                verifier.clock.advance(RETRY_S)
            assert verifier.fetches == ["failed"] * 4


class TestTwoIssuers:
    async def test_equal_subjects_are_two_people_and_equal_key_ids_two_keys(self) -> None:
        async with trusting(2) as (verifier, [one, other]):
            other.publish(jwk(ANOTHER, "first"))
            first, second = (
                await verifier.verify(one.token()),
                await verifier.verify(other.token(key=ANOTHER)),
            )
            assert first.id != second.id
            assert await refused(verifier, other.token()) == "signature"
            assert await refused(verifier, one.token(key=ANOTHER)) == "signature"
            assert await refused(verifier, one.token(iss=other.url)) == "signature"

    async def test_nobody_signs_for_us_and_our_key_for_nobody(self, pair: Pair) -> None:
        verifier, issuer = pair
        await verifier.verify(issuer.token())
        ours = TokenKey.from_secret(OUR_KEY)
        for header, key in (
            ({"alg": "ES256", "kid": "first", "typ": "at+jwt"}, ELLIPTIC),
            ({"alg": "HS256", "kid": "first", "typ": "at+jwt"}, OUR_KEY.encode()),
        ):
            for iss in ("gatehouse", None, 7, f"{issuer.url}/", "https://nobody.example"):
                text = signed(header, {**access_claims(issuer.url), "aud": "gatehouse", "iss": iss}, key)
                assert await refused(verifier, text) in {"alg", "kid"}
        assert await refused(verifier, issuer.token(alg="HS256", kid=ours.kid, key=OUR_KEY.encode())) == "alg"

    def test_two_of_one_name_stop_the_start(self) -> None:
        clock = ManualClock(start=NOW)
        options = OidcIssuer(issuer="https://id.example", audience=AUDIENCE)
        others = [OidcTokens(options, clock=clock, hub=EventHub()) for _ in range(2)]
        with pytest.raises(ConfigurationError, match="same name"):
            TokenService(
                [TokenKey.from_secret(OUR_KEY)], issuer="i", audience="a", clock=clock, others=others
            )


class TestUserId:
    def test_it_is_stable_and_of_a_version_that_no_user_of_ours_has(self) -> None:
        found = oidc_user_id("https://id.example", "user|1")
        assert found == UUID("d95cf59d-a7dd-873c-b1e9-e8701ba5915b")
        assert (found.version, found.variant) == (8, "specified in RFC 4122")

    def test_where_issuer_and_subject_meet_does_not_matter(self) -> None:
        names = [
            ("https://id.example", "/a"),
            ("https://id.example/", "a"),
            ("https://id.example/a", ""),
            ("", "https://id.example/a"),
        ]
        assert len({oidc_user_id(*name) for name in names}) == 4


class TestOptions:
    @each_case(
        "issuer",
        [
            "", "id.example", "ftp://id.example", "http://id.example", "http://10.0.0.1", "http://169.254.169.254", "https://user@id.example",
            "https://user:word@id.example", "https://id.example?x=1", "https://id.example#x", "https://id.example:0", "https://id.example:65536",
            "https://id.example\n", " https://id.example", "https://[::2]", "https://", "https:///x", "http://localhost.evil.example",
            "http://127.0.0.1.evil.example", "HTTPS://id.example", "https://id.example/a b",
        ],
    )  # fmt: skip
    def test_an_address_that_is_not_one_is_refused(self, issuer: str) -> None:
        for given in ({"issuer": issuer}, {"issuer": "https://id.example", "jwks_url": issuer}):
            if issuer == "https://id.example?x=1" and "jwks_url" in given:
                continue  # keys may have one
            with pytest.raises(ConfigurationError, match="https"):
                OidcIssuer(audience="a", **given)  # type: ignore[arg-type]

    @each_case(
        "issuer",
        ["https://id.example", "https://id.example:8443/realms/x/", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:9/x"],
    )  # fmt: skip
    def test_an_address_that_is_one_is_taken(self, issuer: str) -> None:
        assert OidcIssuer(issuer=issuer, audience="a").is_encrypted is issuer.startswith("https")

    def test_no_audience_and_no_algorithm_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="audience"):
            OidcIssuer(issuer="https://id.example", audience="")
        wrong: list[Any] = [frozenset(), frozenset({"HS256"}), frozenset({"none"})]
        for algorithms in wrong:
            with pytest.raises(ConfigurationError, match="algorithms"):
                OidcIssuer(issuer="https://id.example", audience="a", algorithms=algorithms)
