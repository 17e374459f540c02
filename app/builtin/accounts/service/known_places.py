"""Where an account has been signed in to before: its devices and networks, in the store."""

from hashlib import blake2b
from typing import NamedTuple

from app.core.policies import Caller, user_partition
from app.core.valkey import Script, ValkeyClient

_remember, _recall = (Script.load(__package__, f"{name}_places.lua") for name in ("remember", "recall"))


class Known(NamedTuple):
    """What an account knows."""

    device: bool
    network: bool


class KnownPlaces:
    """The last ``most`` devices and the last ``most`` networks of each account, for ``life_s`` seconds after their last sign-in.

    Names and networks are hashed with ``secret``. A store that loses them makes everybody a stranger, who signs in as usual; they prove
    nothing. Every method raises ``StoreError`` when the store does not answer.
    """

    def __init__(self, store: ValkeyClient, *, secret: bytes, life_s: int, most: int) -> None:
        self._store = store
        self._secret = blake2b(secret, digest_size=32, person=b"known-places").digest()
        self._life = b"%d" % (life_s * 1000)
        self._most = b"%d" % most

    async def remember(self, account: str, device: str, network: str) -> None:
        """The account was signed in to from this device, in this network."""
        values = (device.encode(), self._digest(network), self._life, self._most)
        await self._store.run(_remember, self._keys(account), values)

    async def recall(self, account: str, device: str | None, network: str) -> Known:
        """Whether the account knows them."""
        values = ((device or "").encode(), self._digest(network))
        reply = await self._store.run(_recall, self._keys(account), values)
        return Known(*(flag == b"1" for flag in reply.split()))

    def _keys(self, account: str) -> list[str]:
        partition = user_partition(Caller.of(f"name-{self._digest(account).decode()}"))
        return [f"{{{partition}}}:v1:known_{kind}" for kind in ("devices", "networks")]

    def _digest(self, text: str) -> bytes:
        whole = blake2b(text.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16)
        return whole.hexdigest().encode() if text else b""
