"""What a mail may be: nobody adds fields or recipients to it."""

import pytest

from app.core.mail import Mail
from tests.cases import each_case

SENDER = "Gatehouse <no-reply@example.org>"


def mail(to: str = "ann@example.com", subject: str = "Hello", text: str = "A body") -> Mail:
    return Mail(kind="test", to=to, subject=subject, text=text)


class TestMail:
    def test_its_message_has_one_recipient_and_says_that_nobody_wrote_it(self) -> None:
        message = mail(subject="Grüße", text="Ein Wort\n").message(SENDER)
        assert (message["To"], message["From"], message["Subject"]) == ("ann@example.com", SENDER, "Grüße")
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Message-ID"].endswith("@example.org>")
        assert message.get_content() == "Ein Wort\n"

    @each_case("end", ["\r\nBcc: eve@example.com", "\nX: 1", "\r", "\0", "\x7f", "\x0b"])
    def test_line_breaks_are_refused_in_whatever_becomes_a_field(self, end: str) -> None:
        with pytest.raises(ValueError, match=r"Mail\.to"):
            mail(to=f"ann@example.com{end}")
        with pytest.raises(ValueError, match=r"Mail\.subject"):
            mail(subject=f"Hello{end}")
        with pytest.raises(ValueError, match=r"linefeed|carriage|newline|header value"):
            mail().message(f"a@example.com\r\nBcc: eve@example.com{end}")

    @each_case(
        "to",
        ["", "ann", "@example.com", "ann@", "a@example.com,eve@example.com", "a@example.com eve@example.com",
         "Ann <ann@example.com>", "a@example.com;eve@example.com", '"a b"@example.com', "(x)a@example.com"],
    )  # fmt: skip
    def test_an_address_that_is_none_or_more_than_one_is_refused(self, to: str) -> None:
        with pytest.raises(ValueError, match="one address"):
            mail(to=to)

    @each_case(
        ("domain", "sent"),
        [("bücher.example", "xn--bcher-kva.example"), ("straße.example", "xn--strae-oqa.example")],
    )
    def test_a_domain_goes_out_as_the_dns_has_it_and_not_to_one_that_looks_alike(
        self, domain: str, sent: str
    ) -> None:
        assert mail(to=f"ann@{domain}").message(SENDER)["To"] == f"ann@{sent}"

    def test_its_repr_hides_the_text_and_the_address(self) -> None:
        assert "ann@" not in repr(mail())
        assert "A body" not in repr(mail())
