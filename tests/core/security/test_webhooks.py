"""Signatures of webhooks, against the specification's own example."""

from base64 import b64encode

import pytest

from app.core.errors import ConfigurationError
from app.core.security import WebhookKeys
from tests.cases import each_case

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + b64encode(b"o" * 32).decode()
MESSAGE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_specification_is_signed_alike() -> None:
    keys = WebhookKeys([SECRET])
    assert keys.sign(*MESSAGE) == SIGNATURE
    assert keys.is_signed(SIGNATURE, *MESSAGE)


def test_a_message_of_which_one_part_was_changed_is_not_signed() -> None:
    keys, (message_id, timestamp, body) = WebhookKeys([SECRET]), MESSAGE
    assert not keys.is_signed(SIGNATURE, message_id + "0", timestamp, body)
    assert not keys.is_signed(SIGNATURE, message_id, timestamp + "0", body)
    assert not keys.is_signed(SIGNATURE, message_id, timestamp, body + b"0")


def test_parts_cannot_be_moved_over_the_dots_between_them() -> None:
    keys = WebhookKeys([SECRET])
    signed = keys.sign("a", "1", b"2.body")
    assert keys.is_signed(signed, "a", "1", b"2.body")
    assert not keys.is_signed(signed, "a.1", "2", b"body")
    assert not keys.is_signed(keys.sign("a", "12", b"body"), "a", "1", b"2.body")
    with pytest.raises(ValueError, match="dot"):
        keys.sign("a.1", "2", b"body")


@each_case(
    "signatures",
    [
        "",
        " ",
        "v1,",
        "v1",
        SIGNATURE[:-1],
        SIGNATURE + "=",
        SIGNATURE.replace("v1,", "v2,"),
        SIGNATURE.replace("v1,", "v1a,"),
        SIGNATURE.removeprefix("v1,"),
        SIGNATURE.lower(),
        "é" + SIGNATURE,
        " ".join(["v1,AAAA"] * 16 + [SIGNATURE]),
    ],
)
def test_another_text_is_no_signature(signatures: str) -> None:
    assert not WebhookKeys([SECRET]).is_signed(signatures, *MESSAGE)


def test_one_good_signature_among_others_is_enough() -> None:
    assert WebhookKeys([SECRET]).is_signed(f"v1a,AAAA  v1,AAAA {SIGNATURE}", *MESSAGE)


def test_while_secrets_are_exchanged_both_are_good_and_the_newest_signs() -> None:
    keys = WebhookKeys([OTHER, SECRET])
    assert keys.is_signed(SIGNATURE, *MESSAGE)
    assert keys.sign(*MESSAGE) == WebhookKeys([OTHER]).sign(*MESSAGE) != SIGNATURE
    assert not WebhookKeys([OTHER]).is_signed(SIGNATURE, *MESSAGE)


@each_case(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + b64encode(b"x" * 23).decode(),
        "whsec_" + b64encode(b"x" * 65).decode(),
        SECRET.removeprefix("whsec_"),
        "whsec_not base64 at all, and long enough for it",
        "whsec_" + "é" * 40,
    ],
)
def test_a_secret_of_another_form_stops_the_start_and_is_not_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="whsec_") as refused:
        WebhookKeys([secret])
    assert not secret.removeprefix("whsec_") or secret not in str(refused.value)


def test_no_secret_at_all_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        WebhookKeys([])


def test_secrets_are_not_shown() -> None:
    assert repr(WebhookKeys([SECRET, OTHER])) == "<WebhookKeys with 2 secrets>"
