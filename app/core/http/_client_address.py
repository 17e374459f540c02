"""The true address of a client, and the network by which limits know it.

Only hops that a configured proxy wrote are believed: reading X-Forwarded-For from the right, the first
address that is not one of our proxies is the client. Whatever stands left of it was sent by that client and
changes nothing.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

LOCAL = "local"
"""The address of a peer that has none: a Unix socket, or a test client with a made-up host name."""

_MAX_HOPS = 32  # A longer chain is not ours; it bounds what one hostile header can cost.
_CACHE_SIZE = 4096

Network = IPv4Network | IPv6Network


def parse_address(text: str) -> str | None:
    """The canonical form of one hop, or None when it is no address.

    Takes ``1.2.3.4``, ``1.2.3.4:5678``, ``2001:db8::1``, ``[2001:db8::1]`` and ``[2001:db8::1]:443``; drops
    an IPv6 zone and unmaps ``::ffff:1.2.3.4`` so that one machine has one name.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_port_suffix(rest):
            return None
        text = host
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port_suffix(":" + port):
            return None
    address = _parse(text.partition("%")[0])
    return None if address is None else str(address)


def _is_port_suffix(text: str) -> bool:
    return not text or (text[0] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class AddressResolver:
    """Finds the client behind ``trusted`` proxies (networks); with a bounded cache of what it has judged.

    Without proxies the peer itself is the client and X-Forwarded-For is ignored. A Unix socket peer has no
    address; it counts as a proxy when proxies are configured (only the proxy in front can reach the socket),
    otherwise the client is ``"local"``.
    """

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._networks = tuple(trusted)
        self.has_proxies = bool(self._networks)
        self._known: dict[str, tuple[str | None, bool]] = {}

    def judge(self, text: str) -> tuple[str | None, bool]:
        """The canonical address (None: not an address) and whether it is one of our proxies."""
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= _CACHE_SIZE:
                self._known.clear()
            address = parse_address(text)
            known = self._known[text] = (address, address is not None and self._is_trusted(address))
        return known

    def _is_trusted(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in network for network in self._networks if network.version == parsed.version)

    def peer(self, client: Sequence[object] | None) -> tuple[str, bool]:
        """The address at the other end of the connection, and whether to believe what it forwards."""
        if not client:
            return LOCAL, self.has_proxies
        address, trusted = self.judge(str(client[0]))
        return address or LOCAL, trusted

    def resolve(self, client: Sequence[object] | None, forwarded: Sequence[bytes] = ()) -> str:
        """The client's address. ``forwarded`` holds the values of all X-Forwarded-For lines, in order."""
        address, trusted = self.peer(client)
        return self.behind(address, forwarded) if trusted and forwarded else address

    def behind(self, peer: str, forwarded: Sequence[bytes]) -> str:
        """The right-most hop that is not ours; one that is no address ends the search before it."""
        found = peer
        for hop in reversed(b",".join(forwarded).decode("latin-1").rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
            if len(hop) > 64:
                return found
            address, trusted = self.judge(hop)
            if address is None:
                return found
            found = address
            if not trusted:
                return found
        return found


_networks: dict[str, str] = {}


def client_network(address: str | None) -> str:
    """What limits count by: an IPv4 address as it is, the /64 of an IPv6 address (one customer's).

    Expects an address in the form that ``AddressResolver`` returns; None and "local" share one bucket.
    """
    if address is None:
        return LOCAL
    if ":" not in address:
        return address
    network = _networks.get(address)
    if network is None:
        if len(_networks) >= _CACHE_SIZE:
            _networks.clear()
        network = _networks[address] = str(IPv6Network((address, 64), strict=False))
    return network
