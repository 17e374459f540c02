"""What a browser keeps, so that the next sign-in from it is known to be from it."""

import secrets
from base64 import urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest, new
from typing import NamedTuple

from app.core.resilience import Clock

LONGEST_DEVICE_TOKEN = 200
_VERSION = "1"


class Device(NamedTuple):
    """A device that was signed in from to the account that is meant; ``binding`` is of the password of that time."""

    id: str
    binding: str


class DeviceTokens:
    """Makes and reads the tokens of known devices: text that is signed, bound to one account and its password, good for ``life_s``.

    It is no credential: nobody is signed in with it, and it does not say whose it is.
    """

    def __init__(self, *, secret: bytes, life_s: int, clock: Clock) -> None:
        self._secret = blake2b(secret, digest_size=32, person=b"device-tokens").digest()
        self.life_s = life_s
        self._clock = clock

    def issue(self, account: str, password_hash: str, known: Device | None = None) -> tuple[Device, str]:
        """A token for the device, the one that is known already or a new one."""
        device = Device(
            known.id if known is not None else secrets.token_urlsafe(16), self.binding(password_hash)
        )
        head = f"{_VERSION}.{device.id}.{int(self._clock.time()) + self.life_s}.{device.binding}"
        return device, f"{head}.{self._mac(account, head)}"

    def read(self, account: str, token: str | None) -> Device | None:
        """The device, if the token is ours, of this account, and not over."""
        if token is None or len(token) > LONGEST_DEVICE_TOKEN or not token.isascii():
            return None
        head, _, mac = token.rpartition(".")
        if not compare_digest(mac, self._mac(account, head)):
            return None
        _, device, expires, binding = head.split(".")
        return Device(device, binding) if int(expires) > self._clock.time() else None

    def binding(self, password_hash: str) -> str:
        """Changes with the password."""
        return _text(blake2b(password_hash.encode(), key=self._secret, digest_size=16).digest())

    def _mac(self, account: str, head: str) -> str:
        text = f"{head}|{account}".encode("utf-8", "surrogatepass")
        return _text(new(self._secret, text, "sha256").digest())


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
