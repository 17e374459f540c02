from importlib import resources
from unicodedata import normalize

import pytest

from app.builtin.accounts.service import MIN_PASSWORD, UnfitPassword, check_password
from app.builtin.accounts.service.passwords import common_passwords
from tests.cases import each_case

WIDE = "password1".translate({ord(c): ord(c) + 0xFEE0 for c in "password1"})  # full-width letters
EMAIL = "Johanna.Long@Example.com"


def reason(password: str, email: str | None = EMAIL, app_name: str = "gatehouse") -> object:
    """Why it is refused; None when it is not."""
    try:
        check_password(password, email=email, app_name=app_name)
    except UnfitPassword as refused:
        return refused.extensions["reason"]
    return None


def test_the_refusal_is_a_422_that_does_not_repeat_the_password() -> None:
    with pytest.raises(UnfitPassword) as refused:
        check_password("trustno1" * 20)
    assert refused.value.status == 422
    assert "trustno1" not in f"{refused.value!r} {refused.value.extensions}"
    with pytest.raises(UnfitPassword) as undecodable:
        check_password("trustno1\ud800")
    assert undecodable.value.__cause__ is None
    assert undecodable.value.__suppress_context__


@each_case(
    ("password", "expected"),
    [
        ("vb%7qP.", "length"),
        ("vb%7qP.z", None),
        ("x" * 128, None),
        ("x" * 129, "length"),
        ("ü🔑" * 64, None),  # characters, not bytes
        ("🔑" * 7, "length"),
        ("\ud800" * 10, "encoding"),
        ("        ", None),
        (" correct horse ", None),
        ("onlylettersandnodigits", None),
        ("a\0b\0c\0d\0e", None),
    ],
)
def test_length_is_the_only_rule_of_form(password: str, expected: str | None) -> None:
    assert reason(password) == expected


@each_case(
    "password",
    ["password", "12345678", "PassWord1", "ILOVEYOU2", WIDE, "1q2w3e4r", "trustno1"],
)
def test_what_many_people_use_is_refused_in_any_case_and_width(password: str) -> None:
    assert reason(password) == "common"


@each_case("password", [" password1", "password1 ", "password1!x", "1drowssap-9"])
def test_a_common_password_with_more_to_it_is_another_password(password: str) -> None:
    assert reason(password) is None


@each_case("password", [EMAIL, EMAIL.upper(), "johanna.long", "JOHANNA.LONG", "GateHouse", "gatehouse"])
def test_the_address_its_first_part_and_the_service_are_refused(password: str) -> None:
    assert reason(password) == "personal"


def test_without_an_address_only_the_service_s_name_is_known() -> None:
    assert reason("johanna.long", email=None) is None
    assert reason("Order-Desk", email=None, app_name="order-desk") == "personal"
    assert reason("gatehouse", email=None, app_name="order-desk") is None


def test_the_list_is_large_folded_and_of_passwords_that_would_pass_otherwise() -> None:
    listed = common_passwords()
    assert len(listed) > 10_000
    assert all(len(one) >= MIN_PASSWORD and one == normalize("NFKC", one.casefold()) for one in listed)


def test_the_list_names_its_sources_and_licences() -> None:
    told = resources.files("app.builtin.accounts.service").joinpath("common_passwords.LICENSE").read_text()
    assert all(word in told for word in (f"{len(common_passwords()):,}", "Django", "zxcvbn", "MIT License"))
