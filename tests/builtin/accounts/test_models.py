from uuid import UUID

from app.builtin.accounts.models import User, email_key
from tests.cases import each_case


class TestEmailKey:
    @each_case(
        ("one", "other"),
        [
            ("Ann@Example.com", "ann@example.COM"),
            (" ann@example.com\n", "ann@example.com"),
            ("STRASSE@example.com", "straße@example.com"),
            ("É@example.com", "e\u0301@example.com"),
            ("\uff41nn@example.com", "ann@example.com"),
            ("\u212aate@example.com", "kate@example.com"),
        ],
    )
    def test_spellings_of_one_address_share_a_key(self, one: str, other: str) -> None:
        assert email_key(one) == email_key(other)

    def test_different_addresses_have_different_keys(self) -> None:
        addresses = [
            "ann@example.com",
            "a.nn@example.com",
            "ann+x@example.com",
            "ann@example.org",
            "änn@example.com",
        ]
        assert len({email_key(address) for address in addresses}) == len(addresses)

    def test_folding_a_key_again_changes_nothing(self) -> None:
        for code in range(0x110000):
            if not 0xD800 <= code <= 0xDFFF:
                key = email_key(f"a{chr(code)}b")
                assert email_key(key) == key, hex(code)


class TestUser:
    def test_the_key_follows_the_address_whenever_it_is_set(self) -> None:
        user = User(email="Ann@Example.com", password_hash="x")
        assert (user.email, user.email_key) == ("Ann@Example.com", "ann@example.com")
        user.email = "Bob@Example.com"
        assert user.email_key == "bob@example.com"

    def test_the_repr_does_not_show_the_hash(self) -> None:
        assert "secret-hash" not in repr(User(email="a@example.com", password_hash="secret-hash"))

    def test_the_id_is_a_version_7_uuid(self) -> None:
        default = User.__table__.c["id"].default
        assert default is not None
        made = default.arg(None)
        assert isinstance(made, UUID)
        assert made.version == 7
