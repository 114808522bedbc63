from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell.domain.egress import Egress

CLOSED = [
    ("127.0.0.1", "a loopback address"),
    ("127.255.255.254", "a loopback address"),
    ("0.0.0.0", "the unspecified address"),
    ("0.1.2.3", "a reserved address"),
    ("10.0.0.1", "a private address"),
    ("172.16.0.1", "a private address"),
    ("172.31.255.255", "a private address"),
    ("192.168.1.1", "a private address"),
    ("100.64.0.1", "a carrier-grade NAT address"),
    ("169.254.169.254", "a link-local address"),
    ("192.0.0.8", "a reserved address"),
    ("192.0.2.1", "a documentation address"),
    ("198.18.0.1", "a benchmarking address"),
    ("224.0.0.1", "a multicast address"),
    ("255.255.255.255", "a reserved address"),
    ("::", "the unspecified address"),
    ("::1", "a loopback address"),
    ("fe80::1", "a link-local address"),
    ("fe80::1%eth0", "a link-local address"),
    ("fd12:3456::1", "a private address (unique local)"),
    ("fec0::1", "a private address (site-local)"),
    ("ff02::1", "a multicast address"),
    ("2001:db8::1", "a documentation address"),
    ("64:ff9b:1::1", "a local NAT64 address"),
    ("2002:808:808::1", "a 6to4 address"),
    ("2001:0:808:808::1", "a Teredo address"),
    ("::7f00:1", "a reserved address"),  # the old IPv4-compatible form
    ("::ffff:0:7f00:1", "a reserved address"),  # the IPv4-translated form
    ("4000::1", "a reserved address"),
]
OPEN = ["93.184.216.34", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:2800:220:1::1", "::ffff:8.8.8.8"]


@pytest.mark.parametrize(("address", "name"), CLOSED)
def test_an_address_outside_the_public_internet_is_closed_and_its_class_and_the_setting_are_named(
    address: str, name: str
) -> None:
    refusal = Egress().refusal(address)

    assert refusal is not None
    assert refusal.startswith(f"{address.partition('%')[0]} is {name}; the setting egress.allow opens it")


@pytest.mark.parametrize("address", OPEN)
def test_a_public_address_is_open(address: str) -> None:
    assert Egress().refusal(address) is None


@pytest.mark.parametrize(
    ("dressed", "plain", "name"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1", "a loopback address"),
        ("::ffff:10.1.2.3", "10.1.2.3", "a private address"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254", "a link-local address"),
    ],
)
def test_an_address_in_ipv6_dress_is_judged_as_what_it_stands_for(
    dressed: str, plain: str, name: str
) -> None:
    refusal = Egress().refusal(dressed)

    assert refusal is not None
    assert f"stands for {plain}, {name};" in refusal


@given(st.ip_addresses(v=4))
def test_no_dress_changes_the_judgement_of_an_ipv4_address(address: IPv4Address) -> None:
    closed = Egress().refusal(str(address)) is not None

    for prefix in ("::ffff:0:0", "64:ff9b::"):
        dressed = IPv6Address(int(IPv6Address(prefix)) | int(address))
        assert (Egress().refusal(str(dressed)) is not None) == closed


def test_the_setting_opens_the_networks_it_names_and_no_others() -> None:
    egress = Egress.parse(["10.0.0.0/8", "fd00::/8"])

    assert egress.refusal("10.1.2.3") is None
    assert egress.refusal("::ffff:10.1.2.3") is None
    assert egress.refusal("fd00::5") is None
    assert egress.refusal("192.168.1.1") is not None
    assert egress.refusal("::1") is not None


def test_opening_all_of_ipv6_opens_no_ipv4_address_in_dress() -> None:
    egress = Egress.parse(["::/0"])

    assert egress.refusal("::1") is None
    assert egress.refusal("::ffff:127.0.0.1") is not None
    assert egress.refusal("64:ff9b::7f00:1") is not None
    assert egress.refusal("2002:7f00:1::1") == (
        "2002:7f00:1::1 leads to 127.0.0.1, a loopback address; "
        'the setting egress.allow opens it (for example "127.0.0.1/32").'
    )


def test_an_opened_teredo_network_still_leads_only_where_it_may() -> None:
    behind_it_is_loopback = "2001:0:808:808::80ff:fffe"  # the client's address is written inverted

    refusal = Egress.parse(["2001::/32"]).refusal(behind_it_is_loopback)

    assert refusal is not None
    assert "127.0.0.1, a loopback address" in refusal


def test_the_network_named_by_the_refusal_is_one_that_the_setting_takes() -> None:
    refusal = Egress().refusal("::ffff:10.1.2.3")

    assert refusal is not None
    network = refusal.split('"')[1]
    assert Egress.parse([network]).allow == (IPv4Network("10.1.2.3/32"),)
    assert Egress.parse([network]).refusal("::ffff:10.1.2.3") is None


@pytest.mark.parametrize("text", ["", "localhost", "0x7f.1", "1", "127.1", "[::1]", "1.2.3.4.5"])
def test_what_is_no_address_is_closed(text: str) -> None:
    assert Egress.parse(["0.0.0.0/0", "::/0"]).refusal(text) == f"{text!r} is not an IP address."


@pytest.mark.parametrize("text", ["10.0.0.1/8", "intranet", "10.0.0.0/33"])
def test_a_setting_that_is_no_network_is_told_what_one_looks_like(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"egress\.allow takes networks such as '10\.0\.0\.0/8'.*" + text[:8]
    ):
        Egress.parse([text])
