"""Says which addresses belong to the public internet, the same on every version of Python.

An IPv6 address may carry an IPv4 address to which a gateway or the kernel translates: it is judged
by what it carries. The list of forms is that of the IANA IPv6 special-purpose registry (RFC 6890),
with the deprecated ones that a kernel may still route.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_LAST_32_BITS = tuple(
    map(
        IPv6Network,
        (
            "::/96",  # IPv4-compatible, deprecated (RFC 4291 §2.5.5.1)
            "::ffff:0:0/96",  # IPv4-mapped (RFC 4291 §2.5.5.2)
            "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765 §2.1)
            "64:ff9b::/96",  # NAT64 (RFC 6052 §2.1)
        ),
    )
)
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""NAT64 prefixes of a network's own (RFC 8215)."""

_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""Halves of an interface identifier, the other one of which is an IPv4 address (RFC 5214 §6.1)."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that is allotted: no site-local, unique local or link-local address is in it."""

_NOT_GLOBAL = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NOT_GLOBAL_4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4")))
_THIS_NETWORK = IPv4Network("0.0.0.0/8")


def is_public(text: str) -> bool:
    """Tell whether an address, maybe with a zone, is one of the public internet."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public_4(address)
    carried = _carried(address)
    if carried:
        return all(map(_is_public_4, carried))
    packed = address.packed
    if packed[8:12] in _ISATAP and not _is_public_4(IPv4Address(packed[12:])):
        return False
    return address in _GLOBAL_UNICAST and not any(address in each for each in _NOT_GLOBAL)


def _is_public_4(address: IPv4Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in each for each in _NOT_GLOBAL_4)
    )


def _carried(address: IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that traffic to this one may be translated to."""
    packed = address.packed
    if any(address in each for each in _LAST_32_BITS):
        return [IPv4Address(packed[12:])]
    if address in _LOCAL_NAT64:
        # The length of the network's prefix is not known, and with it the place of the IPv4
        # address (RFC 6052 §2.2): each place counts, unless what is there is no destination.
        places = (
            packed[6:8] + packed[9:11],
            packed[7:8] + packed[9:12],
            packed[9:13],
            packed[12:16],
        )
        read = [IPv4Address(each) for each in places]
        return [each for each in read if each not in _THIS_NETWORK] or read[:1]
    if address.sixtofour is not None:
        return [address.sixtofour]
    return list(address.teredo) if address.teredo is not None else []
