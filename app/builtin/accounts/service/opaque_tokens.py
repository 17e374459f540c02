"""Opaque tokens: random text that names a row, whose hash is all that the row has."""

import secrets
from hashlib import sha256


def new_token(prefix: str) -> str:
    """256 random bits after ``prefix``, two to six lower-case letters and ``_``, by which scanners for leaked secrets know it."""
    return prefix + secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes:
    """How a token is looked up: its SHA-256. One of 256 random bits needs no salt and no slow hash; never for passwords or short codes.

    Any text has one.
    """
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
