"""One signing key as a file: ``<kid>.pem``, a few lines that say when it signs, and the private key in PEM.

    signs-from: 2026-11-22T10:00:00Z
    follows: SECRET_KEY
    -----BEGIN PRIVATE KEY-----

Everything about a key is in its own file, which appears and disappears at once; so a folder of them is whole at every moment.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.core.errors import ConfigurationError
from app.core.security._keys import Algorithm, TokenKey, algorithm_of

MAX_FILE_BYTES = 16_384
_BEGIN = b"-----BEGIN"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_RSA_BITS = 3072
_Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
_MAKERS: dict[Algorithm, Callable[[], _Private]] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS),
}


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key that signs from ``signs_from`` (seconds since the epoch) until another one does.

    ``follows_secret``: before it ``SECRET_KEY`` signed, whose tokens are good until they have run out.
    """

    key: TokenKey
    signs_from: float
    follows_secret: bool = False

    @classmethod
    def parse(cls, kid: str, document: bytes) -> "KeyFile":
        """The key of a file. Raises ConfigurationError, which says what is wrong and shows nothing of the document."""
        if len(document) > MAX_FILE_BYTES:
            raise ConfigurationError(f"it is longer than {MAX_FILE_BYTES} bytes")
        head, begin, rest = document.partition(_BEGIN)
        said = _said(head)
        if said.keys() - {"signs-from", "follows"} or said.get("follows", "SECRET_KEY") != "SECRET_KEY":
            raise ConfigurationError("before the key stand `signs-from: TIME` and `follows: SECRET_KEY` only")
        return cls(_key(kid, begin + rest), _time(said.get("signs-from", "")), "follows" in said)

    @classmethod
    def make(
        cls, kid: str, algorithm: Algorithm, signs_from: float, *, follows_secret: bool = False
    ) -> "KeyFile":
        """A new key: Ed25519, P-256, or RSA of 3072 bits. Raises ConfigurationError for HS256, which is no key for a file."""
        if algorithm not in _MAKERS:
            raise ConfigurationError("A signing key of a folder is EdDSA, ES256 or RS256.")
        pem = _MAKERS[algorithm]().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # As it stands in the file, which knows whole seconds.
        return cls(TokenKey(kid, algorithm, pem), float(int(signs_from)), follows_secret)

    def document(self) -> bytes:
        """What ``parse`` reads. It holds the private key."""
        lines = [f"signs-from: {datetime.fromtimestamp(self.signs_from, UTC).strftime(_FORMAT)}"]
        lines += ["follows: SECRET_KEY"] if self.follows_secret else []
        return "".join(f"{line}\n" for line in lines).encode() + self.key.material


def _said(head: bytes) -> dict[str, str]:
    try:
        lines = [line.partition(":") for line in head.decode("ascii").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ConfigurationError("it is no PEM document") from None
    said = {name.strip(): value.strip() for name, _, value in lines}
    if len(said) != len(lines):
        raise ConfigurationError("a line before the key stands there twice")
    return said


def _time(text: str) -> float:
    try:
        if _TIME.fullmatch(text):
            return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        pass  # a 30th of February
    raise ConfigurationError("it needs a line `signs-from: 2026-11-22T10:00:00Z` before the key")


def _key(kid: str, pem: bytes) -> TokenKey:
    if b"PRIVATE KEY" not in pem:
        raise ConfigurationError("it holds no private key in PEM")
    try:
        algorithm = algorithm_of(pem)
    except Exception:  # noqa: BLE001 - whatever the parser dislikes about it; its words may quote the key
        raise ConfigurationError("it holds no readable private key in PEM without a password") from None
    if algorithm is None:
        raise ConfigurationError("its key is not Ed25519, P-256, or RSA of 2048 bits or more")
    return TokenKey(kid, algorithm, pem)
