from app.core.outbound import may_be_called
from tests.cases import each_case


@each_case("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_may_be_called(address: str) -> None:
    assert may_be_called(address, allow_private=False)


@each_case(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "192.0.2.1", "198.18.0.1",
    ],
)  # fmt: skip
def test_private_ones_only_when_allowed(address: str) -> None:
    assert not may_be_called(address, allow_private=False)
    assert may_be_called(address, allow_private=True)


@each_case(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "2002:a9fe:a9fe::", "100.100.100.200",
        "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "::7f00:1", "2001:0:53aa:64c:0:5efe:7f00:1",
    ],
)  # fmt: skip
def test_these_are_never_called(address: str) -> None:
    assert not may_be_called(address, allow_private=False)
    assert not may_be_called(address, allow_private=True)
