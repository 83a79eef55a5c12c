"""Ports of loopback on which a server could listen."""

import contextlib
import socket
from collections.abc import Iterable

__all__ = ["free_port", "port_is_free"]


def free_port(preferred: Iterable[int] = ()) -> int:
    """Return the first of the preferred ports that is free, else any free one."""
    for port in preferred:
        if port_is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on a port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False
