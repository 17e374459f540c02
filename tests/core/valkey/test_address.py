import ssl

import pytest

from app.core.errors import ConfigurationError
from app.core.valkey._address import Address
from tests.cases import each_case


def test_tcp_url_is_taken_apart() -> None:
    address = Address.parse("valkey://ann:s%40cret@cache.example:7000/3")
    assert (address.host, address.port, address.db) == ("cache.example", 7000, 3)
    assert (address.username, address.password, address.tls) == ("ann", "s@cret", None)


def test_unix_url_is_taken_apart() -> None:
    address = Address.parse("unix://:s3cret@/run/valkey.sock?db=4")
    assert (address.path, address.db, address.password) == ("/run/valkey.sock", 4, "s3cret")
    assert str(address) == "/run/valkey.sock/4"


@each_case("scheme", ["valkeys", "rediss"])
def test_tls_checks_certificate_and_name(scheme: str) -> None:
    tls = Address.parse(f"{scheme}://cache.example").tls
    assert tls is not None
    assert (tls.check_hostname, tls.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_tls_checks_can_be_turned_off_in_the_url() -> None:
    named = Address.parse("valkeys://cache.example?ssl_check_hostname=false").tls
    trusting = Address.parse("valkeys://cache.example?ssl_cert_reqs=none").tls
    assert named is not None
    assert trusting is not None
    assert (named.check_hostname, named.verify_mode) == (False, ssl.CERT_REQUIRED)
    assert (trusting.check_hostname, trusting.verify_mode) == (False, ssl.CERT_NONE)


def test_password_is_not_shown() -> None:
    address = Address.parse("valkey://ann:hunter2@localhost")
    assert "hunter2" not in f"{address!r} {address}"


@each_case(
    "url",
    [
        "http://hunter2@localhost",
        "unix://:hunter2@?db=1",
        "valkey://:hunter2/x@localhost:6379",
        "valkey://:hunter2@localhost:99999",
        "valkeys://:hunter2@localhost?ssl_ca_certs=/missing",
        "valkeys://:hunter2@localhost?ssl_cert_reqs=perhaps",
    ],
)
def test_bad_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Address.parse(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
