"""What is published of the keys of our tokens."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class PublicKey(BaseModel):
    """One public key (RFC 7517; RFC 8037 for OKP). It has no member for anything private, and a member too many is refused."""

    model_config = ConfigDict(extra="forbid")

    kty: Literal["OKP", "EC", "RSA"]
    kid: str
    use: Literal["sig"]
    alg: Literal["EdDSA", "ES256", "RS256"]
    crv: Literal["Ed25519", "P-256"] | None = None
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None


class KeySetOut(BaseModel):
    """A JSON Web Key Set."""

    keys: list[PublicKey]
