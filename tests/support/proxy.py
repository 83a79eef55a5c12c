"""A TCP proxy before a server, which loses what the test wants lost."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.deadlines import DEADLINE

_LATER = 0.15
"""Seconds by which the end of a connection reaches the client after the server's last words."""


class Proxy:
    """A TCP proxy before a server, which can pass, swallow, refuse, or cut where a COMMIT was answered.

    ``asked`` is how often a client has sent something: as often it has waited for an answer. ``connections`` is how
    often one has connected. ``delay`` is how many seconds each message of a client takes.
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
        self._ends_after: tuple[int, Dsn] | None = None
        self._ends_late = False
        self.cuts = self.asked = self.connections = 0
        self.delay = 0.0
        self._thread(self._accept)

    def swallow(self, *, new: bool = True) -> None:
        """Become a black hole: nobody hears of the other any more, not even of its end.

        Connections that are made from now on are swallowed too, unless *new* says otherwise.
        """
        self._swallow, self._swallow_new = True, new

    def hang_up(self) -> None:
        """Lose the connections on the client's side alone: the server hears nothing, and works on."""
        self.swallow(new=False)
        for client in list(self._clients):  # not one that connects meanwhile, because the first was lost
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

    def end_session_after(self, number: int, admin: Dsn) -> None:
        """Let an administrator end the session in which the clients' message of a number was answered.

        What the server says of it reaches the client with that answer, and so between two statements.
        """
        self._ends_after = (number, admin)
        self.end_late()

    def end_late(self) -> None:
        """Let the end of a connection reach the client later than the server's last words, as over a network."""
        self._ends_late = True

    def close(self) -> None:
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
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
                self.connections += 1
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
                if self._is_cut_before(data, carried, sink) if back else self._is_cut_after(data, carried):
                    self.cuts += 1
                    break
                if back and self._ends_after and self.asked >= self._ends_after[0] and self._end(source):
                    while more := source.recv(65536):
                        data += more
                if not back:
                    time.sleep(self.delay)
                sink.sendall(data)
        if back and self._ends_late:
            time.sleep(_LATER)
        if not swallowed():
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _is_cut_after(self, sent: bytes, carried: bytearray) -> bool:
        """Whether the connection is cut where the client has sent something."""
        self.asked += 1
        carried += sent
        return not self.cuts and (self.asked == self._cut_at or bool(self._cut_sent and self._cut_sent in sent))

    def _is_cut_before(self, answer: bytes, carried: bytearray, client: socket.socket) -> bool:
        """Whether the connection is cut where the server has answered."""
        if not (self._cut and self._cut[0] in carried and b"COMMIT\0" in answer):
            return False
        if self._cut[1]:
            client.sendall(answer)
        return True

    def _end(self, server: socket.socket) -> bool:
        """Let the administrator end a session, and return whether there was one: not before it is authenticated."""
        if self._ends_after is None:
            return False
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = $1 AND usename IS NOT NULL"
        if not query(self._ends_after[1], ending, server.getsockname()[1]):
            return False
        self._ends_after = None
        self.cuts += 1
        return True


@contextmanager
def proxy(dsn: Dsn) -> Iterator[tuple[Proxy, Dsn]]:
    """Put a proxy before a database; the DSN leads through it."""
    between = Proxy(dsn.hosts[0])
    try:
        yield between, replace(dsn, hosts=(between.address,))
    finally:
        between.close()
