"""Which network addresses may be called on behalf of a user."""

from ipaddress import IPv4Address, IPv6Address, ip_address

# Where clouds serve a machine's own credentials; some are in ranges that may be allowed otherwise.
_METADATA = frozenset(
    ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)


def may_be_called(text: str, *, allow_private: bool) -> bool:
    """Whether a resolved address is one of the public internet, or with ``allow_private`` one of a private network or this machine.

    Never: link-local, metadata services, multicast, unspecified and reserved addresses, or an IPv4 address of these hidden in an IPv6 one.
    """
    address = _innermost(ip_address(text))
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if address.is_reserved and not address.is_loopback:
        return False
    if address.is_loopback or address.is_private:
        return allow_private
    if address.is_global and not (isinstance(address, IPv6Address) and address.is_site_local):
        return True
    return allow_private


def _innermost(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return inner
        if address.teredo is not None:
            return IPv6Address(0)  # Two addresses in one; nobody needs it.
    return address
