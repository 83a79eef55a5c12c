"""A TCP proxy before a server, which loses what the test wants lost."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from service_migrations.settings.dsn import Dsn
from tests.support.deadlines import DEADLINE


class Proxy:
    """A TCP proxy before a server, which can pass, swallow, refuse, or cut where a COMMIT was answered.

    ``asked`` is how often a client has sent something: as often it has waited for an answer.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._sockets = [self._listener]
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._swallow = self._swallow_new = False
        self._cut: tuple[bytes, bool] | None = None
        self._cut_sent: bytes | None = None
        self._cut_at: int | None = None
        self.cuts = self.asked = 0
        self._thread(self._accept)

    def swallow(self, *, new: bool = True) -> None:
        """Become a black hole: nobody hears of the other any more, not even of its end.

        Connections that are made from now on are swallowed too, unless *new* says otherwise.
        """
        self._swallow, self._swallow_new = True, new

    def hang_up(self) -> None:
        """Lose the connections on the client's side alone: the server hears nothing, and works on."""
        self.swallow(new=False)
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Let nobody connect any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut_at_commit(self, marker: str, *, told: bool) -> None:
        """Cut the connection that has carried a text, at the next answer to a COMMIT: before it is *told*, or after."""
        self._cut = (marker.encode(), told)

    def cut_when_sent(self, text: str) -> None:
        """Cut the first connection that sends a text, before the server hears of it."""
        self._cut_sent = text.encode()

    def cut_at_message(self, number: int) -> None:
        """Cut the connection over which the clients' message of a number is sent, before the server hears of it."""
        self._cut_at = number

    def close(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(DEADLINE)

    def _thread(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._clients.append(client)
                if self._swallow_new:
                    continue
                server = socket.create_connection(self._target)
                self._sockets.append(server)
                carried = bytearray()
                # one that was made after the hole opened is not in it
                swallowed: Callable[[], bool] = (lambda: self._swallow_new) if self._swallow else lambda: self._swallow
                self._thread(self._pump, client, server, carried, swallowed, False)
                self._thread(self._pump, server, client, carried, swallowed, True)

    def _pump(
        self, source: socket.socket, sink: socket.socket, carried: bytearray, swallowed: Callable[[], bool], back: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if swallowed():
                    continue
                if not back:
                    self.asked += 1
                    carried += data
                    if not self.cuts and (self.asked == self._cut_at or (self._cut_sent and self._cut_sent in data)):
                        self.cuts += 1
                        break
                elif self._cut and self._cut[0] in carried and b"COMMIT\0" in data:
                    if self._cut[1]:
                        sink.sendall(data)
                    self.cuts += 1
                    break
                sink.sendall(data)
        if not swallowed():
            for one in (source, sink):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(dsn: Dsn) -> Iterator[tuple[Proxy, Dsn]]:
    """Put a proxy before a database; the DSN leads through it."""
    between = Proxy(dsn.hosts[0])
    try:
        yield between, replace(dsn, hosts=(between.address,))
    finally:
        between.close()
