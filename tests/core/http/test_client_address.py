"""Who the client is, and the network it is counted under."""

from ipaddress import ip_network

from app.core.http._client_address import _CACHE_SIZE, AddressResolver, Network, client_network, parse_address
from tests.cases import each_case

PROXIES: list[Network] = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
PEER = ("203.0.113.9", 5000)
PROXY = ("10.0.0.1", 5000)


class TestParseAddress:
    @each_case(
        ("text", "address"),
        [
            ("1.2.3.4", "1.2.3.4"),
            (" 1.2.3.4 ", "1.2.3.4"),
            ("1.2.3.4:5678", "1.2.3.4"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::ffff:102:304]:80", "1.2.3.4"),
            ("fe80::1%eth0", "fe80::1"),
            ('"[2001:db8::1]:443"', "2001:db8::1"),
        ],
    )
    def test_every_written_form_gives_one_canonical_address(self, text: str, address: str) -> None:
        assert parse_address(text) == address

    @each_case(
        "text",
        [
            "",
            "unknown",
            "_hidden",
            "1.2.3",
            "1.2.3.4:port",
            "1.2.3.4:1234567",
            "[::1",
            "[::1]x",
            "1.2.3.4, 5.6.7.8",
            "01.2.3.4",
        ],
    )
    def test_what_is_no_address_is_none(self, text: str) -> None:
        assert parse_address(text) is None


class TestAddressResolver:
    def test_without_proxies_forwarded_changes_nothing(self) -> None:
        assert AddressResolver().resolve(PEER, [b"1.1.1.1"]) == "203.0.113.9"

    def test_an_untrusted_peer_cannot_spoof(self) -> None:
        assert AddressResolver(PROXIES).resolve(PEER, [b"10.0.0.7, 1.1.1.1"]) == "203.0.113.9"

    def test_behind_a_proxy_the_right_most_untrusted_hop_is_the_client(self) -> None:
        assert AddressResolver(PROXIES).resolve(PROXY, [b"6.6.6.6, 198.51.100.7, 10.2.2.2"]) == "198.51.100.7"

    def test_a_spoofed_left_part_changes_nothing(self) -> None:
        resolver = AddressResolver(PROXIES)
        answers = {
            resolver.resolve(PROXY, [f"{fake}, 198.51.100.7".encode()])
            for fake in ("1.1.1.1", "10.0.0.5", "junk", "")
        }
        assert answers == {"198.51.100.7"}

    def test_repeated_lines_are_one_list(self) -> None:
        assert AddressResolver(PROXIES).resolve(PROXY, [b"6.6.6.6", b"198.51.100.7"]) == "198.51.100.7"

    def test_all_hops_trusted_gives_the_left_most(self) -> None:
        assert AddressResolver(PROXIES).resolve(PROXY, [b"10.0.0.3, 10.0.0.2"]) == "10.0.0.3"

    def test_garbage_ends_the_search_at_the_last_good_hop(self) -> None:
        assert AddressResolver(PROXIES).resolve(PROXY, [b"198.51.100.7, unknown, 10.0.0.2"]) == "10.0.0.2"
        assert AddressResolver(PROXIES).resolve(PROXY, [b"x" * 5000]) == "10.0.0.1"

    def test_a_mapped_proxy_address_is_trusted(self) -> None:
        assert (
            AddressResolver(PROXIES).resolve(("::ffff:10.0.0.1", 1), [b"198.51.100.7:4711"]) == "198.51.100.7"
        )

    def test_an_ipv6_proxy_is_trusted_and_its_hop_unwrapped(self) -> None:
        assert AddressResolver(PROXIES).resolve(("fd00::1", 1), [b"[2001:db8::5]:80"]) == "2001:db8::5"

    def test_a_unix_socket_without_proxies_is_local(self) -> None:
        assert AddressResolver().resolve(None, [b"1.1.1.1"]) == "local"

    def test_a_unix_socket_with_proxies_is_a_proxy(self) -> None:
        assert AddressResolver(PROXIES).resolve(None, [b"198.51.100.7"]) == "198.51.100.7"

    def test_a_host_name_as_peer_is_local(self) -> None:
        assert AddressResolver(PROXIES).resolve(("testclient", 50000), [b"1.1.1.1"]) == "local"

    def test_a_very_long_chain_is_read_from_the_right_only(self) -> None:
        chain = b"6.6.6.6," + b"10.0.0.2," * 5000 + b"10.0.0.3"
        assert AddressResolver(PROXIES).resolve(PROXY, [chain]) == "10.0.0.2"

    def test_the_cache_stays_bounded(self) -> None:
        resolver = AddressResolver(PROXIES)
        for number in range(_CACHE_SIZE + 100):
            resolver.resolve(PROXY, [str(number).encode() + b".invalid"])
        assert len(resolver._known) <= _CACHE_SIZE


class TestClientNetwork:
    def test_ipv4_is_counted_by_address(self) -> None:
        assert client_network("198.51.100.7") == "198.51.100.7"

    def test_rotating_inside_a_64_stays_one_network(self) -> None:
        networks = {client_network(f"2001:db8:1:2::{number:x}") for number in range(1, 50)}
        assert networks == {"2001:db8:1:2::/64"}

    def test_the_next_64_is_another_network(self) -> None:
        assert client_network("2001:db8:1:3::1") != client_network("2001:db8:1:2::1")

    @each_case("address", [None, "local"])
    def test_no_address_is_one_bucket(self, address: str | None) -> None:
        assert client_network(address) == "local"
