"""Says which addresses belong to the public internet, the same on every version of Python.

An IPv6 address may contain an IPv4 address to which a gateway or the kernel translates it. Then the
IPv4 address decides. The forms are those of the IANA IPv6 special-purpose registry (RFC 6890), with
the deprecated ones that a kernel may still route.
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
"""The range of the NAT64 prefixes that a network chooses itself (RFC 8215)."""

_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""The first halves of interface identifiers whose other half is an IPv4 address (RFC 5214 §6.1)."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The whole range of allocated addresses. No site-local, unique local or link-local one is in it.
"""

_NOT_GLOBAL = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NOT_GLOBAL_4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4")))
_THIS_NETWORK = IPv4Network("0.0.0.0/8")


def is_public(text: str) -> bool:
    """Tell whether an address, which may have a zone, belongs to the public internet."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public_4(address)
    embedded = _embedded(address)
    if embedded:
        return all(map(_is_public_4, embedded))
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


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses to which traffic for this address may be translated."""
    packed = address.packed
    if any(address in each for each in _LAST_32_BITS):
        return [IPv4Address(packed[12:])]
    if address in _LOCAL_NAT64:
        # The place of the IPv4 address depends on the length of the network's prefix, which is not
        # known (RFC 6052 §2.2). So each place is read, unless its address is no destination.
        places = (
            packed[6:8] + packed[9:11],
            packed[7:8] + packed[9:12],
            packed[9:13],
            packed[12:16],
        )
        addresses = [IPv4Address(each) for each in places]
        return [each for each in addresses if each not in _THIS_NETWORK] or addresses[:1]
    if address.sixtofour is not None:
        return [address.sixtofour]
    return list(address.teredo) if address.teredo is not None else []
