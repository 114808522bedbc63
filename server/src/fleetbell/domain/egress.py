"""Which addresses the platform may connect to when it delivers to an application.

A callback URL is written by somebody else, and the platform stands inside a network. So only addresses of the
public internet are open, and the setting ``egress.allow`` opens more, network by network. The rule is asked
about the address that is really connected to, after every name lookup: a name that changes its address, or an
address in unusual writing, gains nothing.

Sources: the special-purpose address registries of RFC 6890; RFC 6052 (NAT64), RFC 8215 (local NAT64),
RFC 3056 (6to4), RFC 4380 (Teredo).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING: Final = "egress.allow"

# The first row that holds the address names its class.
_CLOSED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), name)
    for network, name in (
        ("0.0.0.0/32", "the unspecified address"),
        ("0.0.0.0/8", "a reserved address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a carrier-grade NAT address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "the unspecified address"),
        ("::1/128", "a loopback address"),
        ("64:ff9b:1::/48", "a local NAT64 address"),
        ("2001::/32", "a Teredo address"),
        ("2001:db8::/32", "a documentation address"),
        ("2001::/23", "a reserved address"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a documentation address"),
        ("fc00::/7", "a private address (unique local)"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a private address (site-local)"),
        ("ff00::/8", "a multicast address"),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")  # everything else in IPv6 is not given out
_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Egress:
    """The rule: the public internet, and the networks of ``allow``.

    An IPv4 address in IPv6 dress is judged as what it stands for: mapped (``::ffff:0:0/96``) and NAT64
    (``64:ff9b::/96``) addresses by their IPv4 address alone. A tunnel address (6to4, Teredo) is closed as
    such, and when its network is opened, what it leads to is judged as well. Where a local NAT64 leads is for
    its site to know, so opening its network opens it all.
    """

    allow: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, allow: Iterable[str]) -> Egress:
        """The rule with these networks open, each as in ``10.0.0.0/8`` or ``fd00::/8``.

        Raises:
            ValueError: a text is not a network; its text says which, and why.

        >>> Egress.parse(["10.0.0.0/8"]).refusal("10.1.2.3") is None
        True
        """
        return cls(tuple(_network(text) for text in allow))

    def refusal(self, address: str) -> str | None:
        """Why ``address`` (an IP address, perhaps with a zone) is closed, or None when it is open.

        >>> Egress().refusal("93.184.216.34") is None
        True
        >>> print(Egress().refusal("64:ff9b::7f00:1"))
        64:ff9b::7f00:1 stands for 127.0.0.1, a loopback address; the setting egress.allow opens it
        (for example "127.0.0.1/32").
        """
        try:
            given = ip_address(address.partition("%")[0])
        except ValueError:
            return f"{address!r} is not an IP address."
        return self._closed(given, dress="")

    def _closed(self, address: Address, *, dress: str) -> str | None:
        plain = _undressed(address)
        if plain != address:
            return self._closed(plain, dress=f"{dress}{address} stands for ")
        if not any(address in network for network in self.allow):
            name = _class_of(address)
            if name is not None:
                return _sentence(address, name, dress)
        for end in _tunnel_ends(address):
            refusal = self._closed(end, dress=f"{address} leads to ")
            if refusal is not None:
                return refusal
        return None


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"{SETTING} takes networks such as '10.0.0.0/8' or 'fd00::/8', not {text!r}: {error}"
        ) from error


def _sentence(address: Address, name: str, dress: str) -> str:
    verb = "," if dress else " is"
    example = f"{address}/{address.max_prefixlen}"
    return f'{dress}{address}{verb} {name}; the setting {SETTING} opens it (for example "{example}").'


def _undressed(address: Address) -> Address:
    """The IPv4 address that a mapped or NAT64 address stands for, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _tunnel_ends(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that packets to a tunnel address end up at."""
    if isinstance(address, IPv4Address):
        return ()
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo  # the relay's server, and the client behind it
    return ()


def _class_of(address: Address) -> str | None:
    for network, name in _CLOSED:
        if address in network:
            return name
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return "a reserved address"
    return None
