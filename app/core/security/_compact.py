"""Reads a compact JWS strictly, before anything in it is believed.

The library below us decodes base64 leniently (two texts, one token), takes the last of two equal JSON names,
and ignores header fields that it does not know. Each of these lets two readers of one token disagree, so all
are refused here.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, NamedTuple, NoReturn

from app.core.security._errors import InvalidToken

MAX_TOKEN_BYTES = 8192
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class CompactToken(NamedTuple):
    """What an unverified token says of itself. Before the signature is checked, ``header`` and ``iss`` may choose among what is
    configured, and nothing else of it counts.
    """

    header: dict[str, Any]
    claims: dict[str, Any]


def read_compact(token: str) -> CompactToken:
    """Take a token apart: three canonical base64url segments, the first two JSON objects without repeated
    names.

    Raises ``InvalidToken`` (reasons ``size``, ``format``, ``json``, ``duplicate``). Proves nothing: the
    signature is not looked at.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken("size")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise InvalidToken("format")
    header, claims, _ = (_decode(segment) for segment in match.groups())
    return CompactToken(_object(header), _object(claims))


def _decode(segment: str) -> bytes:
    try:
        data = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError as exc:
        raise InvalidToken("format") from exc
    # The last character may carry bits that decoding drops; only the spelling that encoding yields is the
    # token.
    if urlsafe_b64encode(data).rstrip(b"=") != segment.encode("ascii"):
        raise InvalidToken("format")
    return data


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (
        ValueError,
        RecursionError,
    ) as exc:  # ValueError: not UTF-8, not JSON, or an integer of thousands of digits
        raise InvalidToken("json") from exc
    if not isinstance(value, dict):
        raise InvalidToken("json")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidToken("duplicate")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
