"""The forging suite: every way we know to make a token that was never issued. Each must end in the same 401."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.core.errors import ConfigurationError
from app.core.resilience import ManualClock
from app.core.security import InvalidToken, TokenKey, TokenService
from tests.cases import each_case
from tests.core.security.forge import (
    AUDIENCE,
    ISSUER,
    KID,
    NOW,
    SECRET,
    b64,
    good_claims,
    good_header,
    sign,
    sign_raw,
)
from tests.core.security.forgeries import (
    PUBLIC_KEY_DOCUMENTS,
    RSA_PRIVATE_PEM,
    RSA_PUBLIC_PEM,
    forged_tokens,
    token_service,
)


def service(*keys: TokenKey, audience: str = AUDIENCE) -> TokenService:
    chosen = keys or (TokenKey(KID, "HS256", SECRET.encode()),)
    return TokenService(chosen, issuer=ISSUER, audience=audience, clock=ManualClock(start=NOW + 1))


@pytest.fixture(scope="module")
def both_kinds() -> TokenService:
    """A service with a private RSA key, which takes a twentieth of a second to load, and a secret."""
    return service(TokenKey("rsa", "RS256", RSA_PRIVATE_PEM), TokenKey(KID, "HS256", SECRET.encode()))


def reason_of_refusal(token: str, tokens: TokenService | None = None) -> str:
    with pytest.raises(InvalidToken) as refused:
        (tokens or service()).verify(token)
    error = refused.value
    assert error.status == 401
    assert error.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "secret" not in str(error)
    return error.reason


def test_the_untouched_token_of_this_suite_is_accepted() -> None:
    principal = service().verify(sign())
    assert principal.id == "user-1"
    assert principal.scopes == {"read:records"}
    assert principal.roles == {"db_reader"}


class TestCatalogue:
    def test_it_has_many_tokens_and_no_two_alike(self) -> None:
        forged = forged_tokens()
        assert len(set(forged.values())) == len(forged) >= 150

    def test_none_of_its_tokens_is_accepted(self) -> None:
        tokens = token_service()
        for name, forged in forged_tokens().items():
            try:
                reason_of_refusal(forged, tokens)
            except BaseException as accepted:
                accepted.add_note(f"the token: {name}")
                raise


class TestAlgorithm:
    @each_case(
        "name", ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "dir", "hs256"]
    )
    def test_an_algorithm_that_no_key_has_is_refused(self, name: str) -> None:
        assert reason_of_refusal(sign(header={"alg": name})) == "alg"

    @each_case("value", [None, 1, True, ["HS256"], {"HS256": 1}])
    def test_an_algorithm_that_is_no_text_is_refused(self, value: Any) -> None:
        assert reason_of_refusal(sign(header={"alg": value})) == "alg"

    @each_case("alg", ["none", "HS256"])
    def test_a_token_without_a_signature_is_refused(self, alg: str) -> None:
        head, claims, _ = sign(header={"alg": alg}).split(".")
        assert reason_of_refusal(f"{head}.{claims}.") == "format"
        assert reason_of_refusal(f"{head}.{claims}") == "format"

    @each_case("document", PUBLIC_KEY_DOCUMENTS)
    @each_case("ending", [b"", b"\n"])
    def test_a_token_hmac_signed_with_our_rsa_public_key_is_refused(
        self, document: str, ending: bytes, both_kinds: TokenService
    ) -> None:
        public = PUBLIC_KEY_DOCUMENTS[document].rstrip(b"\n") + ending
        for kid in ("rsa", KID):
            for alg in ("HS256", "RS256"):
                forged = sign(header={"alg": alg, "kid": kid}, key=public)
                assert reason_of_refusal(forged, both_kinds) in {"alg", "signature"}

    @each_case("document", PUBLIC_KEY_DOCUMENTS)
    def test_a_public_key_offered_as_an_hmac_secret_stops_the_start(self, document: str) -> None:
        with pytest.raises(ConfigurationError, match="public key"):
            TokenKey(KID, "HS256", PUBLIC_KEY_DOCUMENTS[document])

    def test_a_key_of_one_algorithm_does_not_verify_another_key_s_algorithm(self) -> None:
        tokens = service(TokenKey(KID, "HS256", SECRET.encode()), TokenKey("rsa", "RS256", RSA_PUBLIC_PEM))
        assert reason_of_refusal(sign(header={"alg": "RS256"}), tokens) == "alg"


class TestHeader:
    @each_case(
        "kid",
        [
            "other",
            "",
            "MAIN",
            " main",
            "main\0",
            "../../../../dev/null",
            "/proc/self/environ",
            "x' UNION SELECT 'secret",
            "https://evil.example/key",
            "main/../main",
        ],
    )
    def test_a_key_id_that_is_not_exactly_ours_is_refused(self, kid: str) -> None:
        assert reason_of_refusal(sign(header={"kid": kid})) == "kid"

    @each_case("kid", [None, 0, True, ["main"], {"main": 1}])
    def test_a_key_id_that_is_no_text_is_refused(self, kid: Any) -> None:
        assert reason_of_refusal(sign(header={"kid": kid})) == "kid"

    @each_case(
        ("name", "value"),
        [
            ("crit", ["exp"]),
            ("crit", []),
            ("jku", "https://evil.example/jwks.json"),
            ("x5u", "https://evil.example/cert.pem"),
            ("x5c", ["MIIB"]),
            ("x5t", "abc"),
            ("jwk", {"kty": "oct", "k": b64(SECRET.encode())}),
            ("zip", "DEF"),
            ("b64", False),
            ("cty", "JWT"),
            ("enc", "A256GCM"),
            ("made_up", 1),
        ],
    )
    def test_a_header_field_that_we_do_not_issue_is_refused(self, name: str, value: Any) -> None:
        assert reason_of_refusal(sign(header={name: value})) == "header"

    @each_case(
        "typ", [None, "JWT", "jwt", "rt+jwt", "refresh", "id_token", "secevent+jwt", "AT+JWT", 1, ["at+jwt"]]
    )
    def test_a_token_of_another_type_is_refused_as_an_access_token(self, typ: Any) -> None:
        assert reason_of_refusal(sign(header={"typ": typ})) == "typ"


class TestSignature:
    def test_a_token_signed_with_another_key_is_refused(self) -> None:
        assert reason_of_refusal(sign(key=b"b" * 40)) == "signature"

    def test_a_token_of_another_issuer_that_uses_our_key_id_is_refused(self) -> None:
        assert reason_of_refusal(sign(claims={"iss": "https://other.example"}, key=b"o" * 40)) == "signature"

    def test_a_truncated_signature_is_refused(self) -> None:
        token = sign()
        for cut in range(1, 43):
            assert reason_of_refusal(token[:-cut]) in {"signature", "format"}

    def test_a_second_spelling_of_the_same_signature_is_refused(self) -> None:
        token = sign()
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        twin = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
        segment = token.rsplit(".", 1)[1]
        assert urlsafe_b64decode(segment + "=") == urlsafe_b64decode(twin.rsplit(".", 1)[1] + "=")
        assert reason_of_refusal(twin) == "format"

    def test_claims_of_one_token_under_the_signature_of_another_are_refused(self) -> None:
        mine, theirs = sign().split("."), sign(claims={"sub": "admin"}).split(".")
        assert reason_of_refusal(".".join((mine[0], theirs[1], mine[2]))) == "signature"


class TestFormat:
    @each_case(
        "token",
        [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            "Bearer x",
            "null",
            "a" * 100,
            "x.y",
            "x.y.z.w",
            "x.y.z\n",
            " " + sign(),
            sign() + "=",
            sign() + "\n",
            sign().replace(".", ". "),
            sign() + ".extra",
            sign() + "é",
            "é" + sign(),
            "\ud800",
            "\uff41.\uff42.\uff43",
            "\0.\0.\0",
        ],
    )
    def test_text_that_is_no_compact_token_is_refused(self, token: str) -> None:
        assert reason_of_refusal(token) in {"format", "json"}

    def test_a_good_token_of_more_than_8_kib_is_refused(self) -> None:
        assert reason_of_refusal(sign(claims={"padding": "x" * 8192})) == "size"

    @each_case("part", ["header", "claims"])
    @each_case(
        "data",
        [
            b"[]",
            b"1",
            b'"text"',
            b"null",
            b"{",
            b"",
            b"\xff\xfe{}",
            b'{"exp": NaN}',
            b'{"exp": Infinity}',
            b'{"exp": 1' + b"0" * 5000 + b"}",
            b"[" * 5000,
            b'{"a":' * 1000,
        ],
    )
    def test_a_part_that_is_no_strict_json_object_is_refused(self, part: str, data: bytes) -> None:
        header, claims = json.dumps(good_header()).encode(), json.dumps(good_claims()).encode()
        forged = sign_raw(data, claims) if part == "header" else sign_raw(header, data)
        assert reason_of_refusal(forged) in {"json", "format"}

    @each_case("name", ["sub", "exp", "aud", "scope"])
    def test_a_claim_that_stands_twice_is_refused(self, name: str) -> None:
        claims = json.dumps(good_claims())
        doubled = claims[:-1] + f', "{name}": {json.dumps(good_claims()[name])}}}'
        assert (
            reason_of_refusal(sign_raw(json.dumps(good_header()).encode(), doubled.encode())) == "duplicate"
        )

    def test_a_name_that_stands_twice_inside_a_claim_is_refused(self) -> None:
        claims = json.dumps(good_claims())[:-1] + ', "x": {"a": 1, "a": 2}}'
        assert reason_of_refusal(sign_raw(json.dumps(good_header()).encode(), claims.encode())) == "duplicate"

    @each_case("name", ["alg", "kid", "typ"])
    def test_a_header_field_that_stands_twice_is_refused(self, name: str) -> None:
        header = json.dumps(good_header())[:-1] + f', "{name}": {json.dumps(good_header()[name])}}}'
        assert reason_of_refusal(sign_raw(header.encode(), json.dumps(good_claims()).encode())) == "duplicate"


class TestClaims:
    @each_case("name", sorted(good_claims()))
    def test_a_token_without_one_of_the_claims_is_refused(self, name: str) -> None:
        assert reason_of_refusal(sign(claims={name: None})) == name

    @each_case("name", ["exp", "iat", "nbf", "iat_ms", "auth_time"])
    @each_case(
        "value",
        [True, False, 0, -1, -(10**30), 10**30, float(NOW + 60), 1e300, str(NOW + 60), "", [NOW + 60], {}],
    )
    def test_a_date_that_is_no_sensible_whole_number_is_refused(self, name: str, value: Any) -> None:
        assert reason_of_refusal(sign(claims={name: value})) == name

    @each_case("iss", ["", ISSUER + "/", ISSUER.upper(), "https://evil.example", [ISSUER], 1])
    def test_another_issuer_is_refused(self, iss: Any) -> None:
        assert reason_of_refusal(sign(claims={"iss": iss})) == "iss"

    @each_case(
        "aud",
        [
            "",
            "other",
            AUDIENCE + "x",
            AUDIENCE[:-1],
            [],
            ["other"],
            [AUDIENCE, 1],
            [[AUDIENCE]],
            {AUDIENCE: 1},
            1,
            True,
        ],
    )
    def test_an_audience_without_us_is_refused(self, aud: Any) -> None:
        assert reason_of_refusal(sign(claims={"aud": aud})) == "aud"

    def test_a_list_of_audiences_with_us_among_them_is_accepted(self) -> None:
        assert service().verify(sign(claims={"aud": ["other", AUDIENCE]})).id == "user-1"

    def test_an_audience_that_merely_contains_our_name_is_refused(self) -> None:
        assert reason_of_refusal(sign(claims={"aud": f"not-{AUDIENCE}-really"})) == "aud"

    @each_case("name", ["sub", "jti", "sid"])
    @each_case("value", ["", " ", "a b", "a\0b", "\ud800", "é", "x" * 256, 1, True, ["a"], {}])
    def test_an_identifier_that_is_no_visible_ascii_text_is_refused(self, name: str, value: Any) -> None:
        assert reason_of_refusal(sign(claims={name: value})) == name

    @each_case("value", [["read:records"], 1, True, "read:records\twrite:records", 'a"b', "A", "é", "a\0"])
    def test_a_scope_that_is_no_list_of_names_is_refused(self, value: Any) -> None:
        assert reason_of_refusal(sign(claims={"scope": value})) == "scope"

    @each_case("value", ["admin", {"admin": 1}, [1], [None], ["Admin"], [["admin"]], ["a"] * 65])
    def test_roles_that_are_no_list_of_names_are_refused(self, value: Any) -> None:
        assert reason_of_refusal(sign(claims={"roles": value})) == "roles"

    @each_case("value", ["pwd", [1], {}])
    def test_methods_that_are_no_list_of_text_are_refused(self, value: Any) -> None:
        assert reason_of_refusal(sign(claims={"amr": value})) == "amr"


class TestTimes:
    def test_an_expired_token_is_refused_without_any_leeway(self) -> None:
        assert (
            reason_of_refusal(sign(claims={"iat": NOW - 900, "iat_ms": (NOW - 900) * 1000, "exp": NOW + 1}))
            == "expired"
        )

    @each_case(("ahead", "accepted"), [(6, True), (7, False), (10_000, False)])
    def test_a_token_from_the_future_is_accepted_within_the_leeway_only(
        self, ahead: int, accepted: bool
    ) -> None:
        issued = {"iat": NOW + ahead, "iat_ms": (NOW + ahead) * 1000, "exp": NOW + ahead + 900}
        if accepted:
            assert service().verify(sign(claims=issued)).issued_at == NOW + ahead
        else:
            assert reason_of_refusal(sign(claims=issued)) == "iat"

    def test_a_token_that_is_not_valid_yet_is_refused(self) -> None:
        assert reason_of_refusal(sign(claims={"nbf": NOW + 7})) == "nbf"

    def test_a_token_that_lives_longer_than_a_day_is_refused(self) -> None:
        assert reason_of_refusal(sign(claims={"exp": NOW + 86_401})) == "exp"

    def test_a_token_that_expires_before_it_was_issued_is_refused(self) -> None:
        assert reason_of_refusal(sign(claims={"exp": NOW - 1})) == "exp"

    @each_case("shift_ms", [-1, 1000, 10**9])
    def test_milliseconds_that_disagree_with_the_seconds_are_refused(self, shift_ms: int) -> None:
        assert reason_of_refusal(sign(claims={"iat_ms": NOW * 1000 + shift_ms})) == "iat_ms"


class TestKeys:
    @each_case("size", [0, 1, 31])
    def test_a_short_hmac_secret_stops_the_start(self, size: int) -> None:
        with pytest.raises(ConfigurationError, match="32 bytes"):
            TokenKey(KID, "HS256", b"x" * size)

    @each_case("document", ["der", "pkcs1_der", "jwk", "ssh"])
    def test_a_public_key_that_is_no_pem_stops_the_start(self, document: str) -> None:
        with pytest.raises(ConfigurationError, match="PEM"):
            TokenKey(KID, "RS256", PUBLIC_KEY_DOCUMENTS[document])

    def test_a_key_of_the_wrong_kind_stops_the_start(self) -> None:
        other_curve = ec.generate_private_key(ec.SECP384R1()).public_key()
        pem = other_curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        cases: list[Callable[[], TokenKey]] = [
            lambda: TokenKey(KID, "RS256", pem),
            lambda: TokenKey(KID, "ES256", pem),
            lambda: TokenKey(KID, "ES256", RSA_PUBLIC_PEM),
            lambda: TokenKey(KID, "RS256", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        ]
        for build in cases:
            with pytest.raises(ConfigurationError):
                build()

    @each_case("kid", ["", "a b", "../x", "a\0", "é", "x" * 65])
    def test_a_key_id_with_other_characters_stops_the_start(self, kid: str) -> None:
        with pytest.raises(ConfigurationError, match="key id"):
            TokenKey(kid, "HS256", SECRET.encode())

    def test_the_id_of_a_secret_follows_from_it_and_does_not_show_it(self) -> None:
        one, same, other = (TokenKey.from_secret(secret) for secret in (SECRET, SECRET, SECRET + "x"))
        assert one.kid == same.kid != other.kid
        assert SECRET not in repr(one)
