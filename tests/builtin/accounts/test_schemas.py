from typing import Any

import pytest
from pydantic import ValidationError

from app.builtin.accounts.schemas import PasswordGrant
from tests.cases import each_case

GOOD = {"username": "ann@example.com", "password": "secret-password"}


class TestPasswordGrant:
    def test_name_and_password_are_enough(self) -> None:
        form = PasswordGrant.model_validate(GOOD)
        assert (form.username, form.password.get_secret_value(), form.scope) == (
            "ann@example.com",
            "secret-password",
            "",
        )

    def test_what_oauth_tools_send_along_is_taken(self) -> None:
        extra = {"grant_type": "password", "scope": "a b", "client_id": "tool", "client_secret": "hidden"}
        form = PasswordGrant.model_validate(GOOD | extra)
        assert form.scope == "a b"
        assert "hidden" not in repr(form)

    @each_case(
        "change",
        [
            {"grant_type": "client_credentials"},
            {"grant_type": ""},
            {"username": ""},
            {"username": "x" * 255},
            {"username": "a\0b"},
            {"username": "a\nb"},
            {"username": 1},
            {"password": ""},
            {"password": "x" * 129},
            {"scope": "x" * 2049},
            {"unknown": "field"},
        ],
    )
    def test_a_field_out_of_range_or_unknown_is_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            PasswordGrant.model_validate(GOOD | change)

    @each_case("name", sorted(GOOD))
    def test_a_missing_field_is_refused(self, name: str) -> None:
        with pytest.raises(ValidationError):
            PasswordGrant.model_validate({key: value for key, value in GOOD.items() if key != name})

    def test_neither_the_repr_nor_the_error_shows_the_password(self) -> None:
        assert "secret-password" not in repr(PasswordGrant.model_validate(GOOD))
        with pytest.raises(ValidationError) as refused:
            PasswordGrant.model_validate({"username": "ann@example.com", "password": "secret-password" * 20})
        assert "secret-password" not in str(refused.value)
