"""Which e-mail addresses are taken."""

import pytest

from app.builtin.accounts.service.addresses import checked_email
from app.core.errors import Unprocessable
from tests.cases import each_case


@each_case("email", [" Ann@example.com ", "ann@intranet", "ann+x@mail.example.org"])
def test_an_address_is_taken_as_given_without_surrounding_space(email: str) -> None:
    assert checked_email(email) == email.strip()


@each_case(
    "email", ["", "ann", "ann@", "@example.com", "ann@exa mple.com", "a\r\n@example.com", "ann@localhost"]
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(Unprocessable):
        checked_email(email)
