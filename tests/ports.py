"""Ports on loopback that nobody listens on."""

from __future__ import annotations

from kong_scim.cli.kong import free_ports

__all__ = ["free_port", "free_ports"]


def free_port() -> int:
    """Return one."""
    return free_ports(1)[0]
