"""Codes of apps against the vectors of RFC 6238, and recovery codes."""

import re
from urllib.parse import parse_qs, urlsplit
from uuid import UUID
from xml.etree import ElementTree as ET

import pyotp

from app.builtin.accounts.service.mfa_codes import (
    hash_of_recovery,
    new_recovery_codes,
    new_secret,
    otpauth_uri,
    qr_svg,
    step_of,
)
from tests.cases import each_case

# RFC 6238, appendix B: the secret of its SHA-1 rows, and the last six of their eight digits.
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
NOW = 1_800_000_000.0
STEP = 60_000_000


@each_case(
    ("now", "code"),
    [(59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (1_234_567_890, "005924"),
     (2_000_000_000, "279037"), (20_000_000_000, "353130")],
)  # fmt: skip
def test_the_vectors_of_the_rfc(now: int, code: str) -> None:
    assert step_of(RFC_SECRET, code, now, after=0) == now // 30


@each_case(("offset", "found"), [(-2, None), (-1, STEP - 1), (0, STEP), (1, STEP + 1), (2, None)])
def test_a_clock_may_differ_by_one_step(offset: int, found: int | None) -> None:
    code = pyotp.HOTP(RFC_SECRET).at(STEP + offset)
    for second in (0, 29.999):
        assert step_of(RFC_SECRET, code, NOW + second, after=0) == found


def test_a_code_of_a_step_that_was_used_or_passed_is_none() -> None:
    code = pyotp.HOTP(RFC_SECRET).at(STEP)
    assert step_of(RFC_SECRET, code, NOW, after=STEP - 1) == STEP
    assert step_of(RFC_SECRET, code, NOW, after=STEP) is None
    assert step_of(RFC_SECRET, code, NOW, after=STEP + 1) is None


@each_case("code", ["", "0", "00000a", "1234567", "\x00" * 6])
def test_what_is_no_code_is_wrong(code: str) -> None:
    assert step_of(RFC_SECRET, code, NOW, after=0) is None


def test_the_uri_tells_an_app_who_and_for_what_whatever_the_names_are() -> None:
    secret = new_secret()
    uri = urlsplit(otpauth_uri(secret, "ann+x&secret=y@example.com", "Gate house"))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert parse_qs(uri.query) == {"secret": [secret], "issuer": ["Gate house"]}
    assert re.fullmatch(r"[A-Z2-7]{32}", secret)  # 160 bits


def test_the_picture_is_an_svg_without_script_or_reference() -> None:
    root = ET.fromstring(qr_svg(otpauth_uri(new_secret(), "ann@example.com", "Gate house")))
    assert root.tag.endswith("svg")
    assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {"svg", "path", "g"}
    assert not any("href" in name or name.startswith("on") for node in root.iter() for name in node.attrib)


def test_recovery_codes_are_ten_of_80_bits_and_may_be_written_in_any_way() -> None:
    codes, user = new_recovery_codes(), UUID(int=1)
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", code) for code in codes)
    assert hash_of_recovery(user, codes[0].lower()) == hash_of_recovery(user, codes[0].replace("-", ""))
    assert hash_of_recovery(UUID(int=2), codes[0]) != hash_of_recovery(user, codes[0])
