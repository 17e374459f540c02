"""Sensitive arguments are encrypted and decrypted on their way into a function, whose kind and signature stay."""

import inspect
from typing import Any

import pytest

from app.core.errors import ConfigurationError
from app.core.resilience import retry_decorator
from app.core.security import (
    DataEncryptor,
    Decrypted,
    DecryptionFailed,
    Encrypted,
    with_encrypted_parameters,
)

pytestmark = pytest.mark.usefixtures("keys")

again = retry_decorator(max_attempts=3, base=0.0, cap=0.0)


@with_encrypted_parameters
async def store(name: str, ssn: Encrypted, *, note: Encrypted | None = None) -> tuple[str, str, str | None]:
    """What a repository would get."""
    return name, ssn, note


class TestBare:
    async def test_annotated_parameters_arrive_encrypted_and_no_others(self) -> None:
        name, ssn, note = await store("Ann", "078-05-1120", note="private")
        assert (name, "078" in ssn) == ("Ann", False)
        assert [DataEncryptor().decrypt(each) for each in (ssn, note or "")] == ["078-05-1120", "private"]

    async def test_nothing_stays_nothing(self) -> None:
        assert (await store("Ann", "x", note=None))[2] is None
        assert (await store("Ann", ssn="x"))[2] is None

    def test_a_token_arrives_decrypted(self) -> None:
        @with_encrypted_parameters
        def read(token: Decrypted) -> str:
            return token

        assert read(DataEncryptor().encrypt("word")) == "word"
        with pytest.raises(DecryptionFailed):
            read("word")

    def test_kind_and_signature_stay(self) -> None:
        assert inspect.iscoroutinefunction(store)
        assert list(inspect.signature(store).parameters) == ["name", "ssn", "note"]
        assert store.__doc__ == "What a repository would get."


class TestWithOthers:
    @pytest.mark.parametrize("outermost", ["retry", "encryption"])
    async def test_in_any_order_every_attempt_gets_one_that_opens(self, outermost: str) -> None:
        got = []

        async def write(ssn: Encrypted) -> str:
            got.append(ssn)
            if len(got) < 3:
                raise ConnectionError
            return ssn

        inner = with_encrypted_parameters(write) if outermost == "retry" else again(write)
        decorated = again(inner) if outermost == "retry" else with_encrypted_parameters(inner)
        await decorated("078-05-1120")
        assert [DataEncryptor().decrypt(each) for each in got] == ["078-05-1120"] * 3


class TestByName:
    def test_named_parameters_are_changed(self) -> None:
        @with_encrypted_parameters(encrypt=["plain"], decrypt=["token"], encryptor=DataEncryptor(["k" * 32]))
        def both(plain: str, token: str) -> tuple[str, str]:
            return plain, token

        mine = DataEncryptor(["k" * 32])
        plain, token = both("word", token=mine.encrypt("other"))
        assert (mine.decrypt(plain), token) == ("word", "other")

    def test_what_is_no_text_is_refused(self) -> None:
        @with_encrypted_parameters(encrypt=["ssn"])
        def write(ssn: Any) -> None:
            raise AssertionError

        with pytest.raises(TypeError, match="not int"):
            write(7)
        with pytest.raises(TypeError, match="ssn"):
            write()  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({}, "has no parameter that is meant"),
            ({"encrypt": ["snn"]}, "has no parameter snn"),
            ({"encrypt": ["rest"]}, "has no parameter rest"),
            ({"encrypt": ["ssn"], "decrypt": ["ssn"]}, "ssn is meant twice"),
        ],
    )
    def test_a_mistake_is_found_at_once(self, options: dict[str, Any], says: str) -> None:
        def write(ssn: str, **rest: str) -> None: ...

        with pytest.raises(ConfigurationError, match=says):
            with_encrypted_parameters(**options)(write)
