import string
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import ConfigurationError
from app.core.resilience import ManualClock
from app.core.security import Algorithm, InvalidToken, TokenKey, TokenService, known_roles, known_scopes
from tests.cases import each_case

SECRET = "another-secret-of-the-tests-of-more-than-32-bytes"
START = 1_800_000_000.25
_BASE64URL = string.ascii_letters + string.digits + "-_"


def service(clock: ManualClock | None = None, *, ttl_s: int = 900, cache_size: int = 100) -> TokenService:
    return TokenService(
        [TokenKey.from_secret(SECRET)],
        issuer="gatehouse",
        audience="gatehouse",
        clock=clock or ManualClock(start=START),
        ttl_s=ttl_s,
        cache_size=cache_size,
    )


SERVICE = service()


class TestIssue:
    def test_the_principal_of_a_token_is_what_it_was_issued_for(self) -> None:
        tokens = service()
        issued = tokens.issue("user-1", scopes={"read:records"}, roles={"admin"}, methods=("pwd", "otp"))
        principal = tokens.verify(issued.token)
        assert principal.id == "user-1"
        assert principal.scopes == {"read:records"}
        assert principal.roles == {"admin"}
        assert principal.methods == ("pwd", "otp")
        assert principal.token_id == issued.claims["jti"]
        assert principal.session_id == issued.claims["sid"]
        assert principal.issued_at == START
        assert principal.expires_at == START - 0.25 + 900
        assert issued.expires_in == 900

    def test_each_token_has_an_id_and_a_session_of_its_own(self) -> None:
        first, second = SERVICE.issue("u").claims, SERVICE.issue("u").claims
        assert first["jti"] != second["jti"]
        assert first["sid"] != second["sid"]

    def test_a_session_and_a_time_of_authentication_can_be_carried_over(self) -> None:
        principal = SERVICE.verify(SERVICE.issue("u", session_id="s-1", authenticated_at=START - 3600).token)
        assert (principal.session_id, principal.authenticated_at) == ("s-1", int(START - 3600))

    @each_case("subject", ["", "a b", "é", "x" * 256, "\0"])
    def test_a_subject_that_would_not_verify_is_not_issued(self, subject: str) -> None:
        with pytest.raises(ValueError, match="sub"):
            SERVICE.issue(subject)

    def test_a_scope_that_would_not_verify_is_not_issued(self) -> None:
        with pytest.raises(ValueError, match="scope"):
            SERVICE.issue("u", scopes={"Not A Scope"})

    def test_a_token_that_would_be_too_long_is_not_issued(self) -> None:
        with pytest.raises(ValueError, match="8192"):
            SERVICE.issue("u", methods=("x" * 9000,))

    def test_no_repr_shows_the_token_or_the_secret(self) -> None:
        issued = SERVICE.issue("u")
        assert issued.token not in repr(issued)
        assert SECRET not in repr(SERVICE)
        assert SECRET not in repr(vars(SERVICE))


class TestOptions:
    @each_case("ttl_s", [0, 59, 86_401])
    def test_a_lifetime_out_of_range_stops_the_start(self, ttl_s: int) -> None:
        with pytest.raises(ConfigurationError, match="lives"):
            service(ttl_s=ttl_s)

    @each_case("leeway_s", [-1, 31])
    def test_a_leeway_out_of_range_stops_the_start(self, leeway_s: int) -> None:
        with pytest.raises(ConfigurationError, match="leeway"):
            TokenService(
                [TokenKey.from_secret(SECRET)],
                issuer="i",
                audience="a",
                clock=ManualClock(),
                leeway_s=leeway_s,
            )

    def test_no_key_two_keys_of_one_id_and_a_first_key_that_cannot_sign_stop_the_start(self) -> None:
        key = TokenKey.from_secret(SECRET)
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        verifier = TokenKey(
            "es", "ES256", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        for keys in ([], [key, key], [verifier, key]):
            with pytest.raises(ConfigurationError):
                TokenService(keys, issuer="i", audience="a", clock=ManualClock())

    @each_case(("issuer", "audience"), [("", "a"), ("i", "")])
    def test_an_empty_issuer_or_audience_stops_the_start(self, issuer: str, audience: str) -> None:
        with pytest.raises(ConfigurationError, match="issuer"):
            TokenService(
                [TokenKey.from_secret(SECRET)], issuer=issuer, audience=audience, clock=ManualClock()
            )


class TestRotation:
    def test_a_token_of_the_former_key_verifies_until_that_key_is_removed(self) -> None:
        clock = ManualClock(start=START)
        old, new = TokenKey("old", "HS256", b"o" * 32), TokenKey("new", "HS256", b"n" * 32)

        def tokens(*keys: TokenKey) -> TokenService:
            return TokenService(keys, issuer="i", audience="a", clock=clock)

        token = tokens(old).issue("u").token
        assert tokens(new, old).verify(token).id == "u"
        with pytest.raises(InvalidToken) as refused:
            tokens(new).verify(token)
        assert refused.value.reason == "kid"

    @each_case("algorithm", ["RS256", "ES256"])
    def test_a_private_key_signs_what_its_public_key_verifies(self, algorithm: Algorithm) -> None:
        private = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if algorithm == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        clock = ManualClock(start=START)
        signer = TokenService([TokenKey("k", algorithm, pem)], issuer="i", audience="a", clock=clock)
        reader = TokenService(
            [TokenKey.from_secret(SECRET), TokenKey("k", algorithm, public)],
            issuer="i",
            audience="a",
            clock=clock,
        )
        token = signer.issue("u").token
        assert signer.verify(token) == reader.verify(token)


class TestVerifiedTokensAreRemembered:
    def test_a_second_verification_answers_the_same_principal_without_the_signature_being_checked(
        self,
    ) -> None:
        tokens = service()
        token = tokens.issue("u").token
        assert tokens.verify(token) is tokens.verify(token)

    def test_a_remembered_token_is_refused_from_the_second_in_which_it_expires(self) -> None:
        clock = ManualClock(start=START)
        tokens = service(clock)
        token = tokens.issue("u").token
        tokens.verify(token)
        clock.advance(899.5)
        assert tokens.verify(token).id == "u"
        clock.advance(0.25)
        for _ in range(2):
            with pytest.raises(InvalidToken) as refused:
                tokens.verify(token)
            assert refused.value.reason == "expired"
            assert refused.value.detail == "The access token has expired."

    def test_a_refused_token_is_not_remembered(self) -> None:
        clock = ManualClock(start=START)
        tokens = service(clock)
        early = service(ManualClock(start=START + 60)).issue("u").token
        with pytest.raises(InvalidToken):
            tokens.verify(early)
        clock.advance(60)
        assert tokens.verify(early).id == "u"

    def test_more_tokens_than_the_cache_holds_still_verify(self) -> None:
        tokens = service(cache_size=4)
        issued = [tokens.issue(f"user-{n}").token for n in range(20)]
        for _ in range(2):
            assert [tokens.verify(token).id for token in issued] == [f"user-{n}" for n in range(20)]
        assert len(tokens._verified) <= 4

    def test_a_cache_of_size_zero_remembers_nothing(self) -> None:
        tokens = service(cache_size=0)
        token = tokens.issue("u").token
        assert tokens.verify(token) is not tokens.verify(token)

    def test_no_token_text_is_kept(self) -> None:
        tokens = service()
        token = tokens.issue("u").token
        tokens.verify(token)
        assert token.rsplit(".", 1)[1] not in repr(vars(tokens._verified))


_subjects = st.text(alphabet=[chr(code) for code in range(0x21, 0x7F)], min_size=1, max_size=255)


class TestProperties:
    @settings(deadline=None)
    @given(
        subject=_subjects,
        scopes=st.frozensets(st.sampled_from(sorted(known_scopes))),
        roles=st.frozensets(st.sampled_from(sorted(known_roles))),
    )
    def test_every_issued_token_verifies_to_what_was_asked(
        self, subject: str, scopes: frozenset[str], roles: frozenset[str]
    ) -> None:
        principal = SERVICE.verify(SERVICE.issue(subject, scopes=scopes, roles=roles).token)
        assert (principal.id, principal.scopes, principal.roles) == (subject, scopes, roles)

    @settings(deadline=None)
    @given(data=st.data())
    def test_a_token_with_one_character_changed_is_refused(self, data: st.DataObject) -> None:
        token = SERVICE.issue("user-1", scopes=known_scopes).token
        place = data.draw(st.integers(0, len(token) - 1))
        other = data.draw(
            st.one_of(st.sampled_from(_BASE64URL + "."), st.characters()).filter(lambda c: c != token[place])
        )
        with pytest.raises(InvalidToken):
            SERVICE.verify(token[:place] + other + token[place + 1 :])

    @settings(deadline=None)
    @given(text=st.one_of(st.text(), st.text(alphabet=_BASE64URL + ".", max_size=300)))
    def test_no_text_raises_anything_but_invalid_token(self, text: str) -> None:
        with pytest.raises(InvalidToken):
            SERVICE.verify(text)


def test_a_principal_cannot_be_changed_after_verification() -> None:
    principal = SERVICE.verify(SERVICE.issue("u").token)
    with pytest.raises(AttributeError):
        principal.scopes = frozenset({"write:records"})  # type: ignore[misc]
    assert replace(principal, id="v").id == "v"
