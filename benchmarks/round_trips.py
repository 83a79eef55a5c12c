"""Measure one service over a network: how often each tool waits for the server, and the seconds that this takes.

A proxy adds some milliseconds to each message of a client. The counts are the same on every machine.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, Contestant, Tools, run
from benchmarks.fleet import Fleet
from service_migrations.postgres import VERSIONS, throwaway
from service_migrations.settings.dsn import Dsn

_OURS = "ours"


class _Delay:
    """A TCP proxy that passes each message of a client on after some seconds, and counts them."""

    def __init__(self, target: tuple[str, int], seconds: float) -> None:
        self._target, self._seconds = target, seconds
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self._listener.getsockname()
        self.messages = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass, args=(client, server, self._seconds), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, 0.0), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, seconds: float) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if seconds:
                    self.messages += 1
                    time.sleep(seconds)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def _delayed(dsn: Dsn, seconds: float) -> Iterator[tuple[_Delay, Dsn]]:
    delay = _Delay(dsn.hosts[0], seconds)
    try:
        yield delay, replace(dsn, hosts=(delay.address,))
    finally:
        delay.close()


def main() -> None:
    """Measure from empty and with nothing to do, alternating, and print medians and ratios."""
    asked = _arguments()
    tools = Tools(asked.dbmate, asked.psql, None)
    contestants = [
        contestant
        for contestant in CONTESTANTS
        if contestant.key in (_OURS, "alembic") or getattr(tools, contestant.key, None)
    ]
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    messages: dict[tuple[str, str], int] = {}
    with (
        throwaway(asked.postgres) as server,
        _delayed(server.admin, asked.milliseconds / 1000) as (delay, through),
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        fleet = Fleet.make(Path(folder), through, 1, asked.revisions)
        for contestant in contestants:
            fleet.databases(contestant.key)
        for number in range(asked.rounds + 1):
            for contestant in contestants:
                fleet.empty(contestant.key)
                for state in ("from empty", "nothing to do") if contestant.remembers else ("from empty",):
                    took, count = _measure(contestant, fleet, tools, delay)
                    messages[state, contestant.name] = count
                    if number:  # the first round compiles the files
                        seconds[state, contestant.name].append(took)
                        print(f"{contestant.name}, {state}: {took:.2f} s", file=sys.stderr, flush=True)
    print(f"{asked.revisions} revisions, {asked.milliseconds:g} ms for each message: messages, seconds, and the ratio")
    for (state, name), values in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(values, seconds[state, _OURS], strict=True)]
        ratio = f"{statistics.median(ratios):6.2f}x"
        print(f"  {state:<15}{name:<26}{messages[state, name]:6}{statistics.median(values):8.2f} s {ratio}")


def _measure(contestant: Contestant, fleet: Fleet, tools: Tools, delay: _Delay) -> tuple[float, int]:
    before = delay.messages
    took = run(contestant, fleet, tools)
    return took, delay.messages - before


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--revisions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--milliseconds", type=float, default=5)
    parser.add_argument("--postgres", default=VERSIONS[-1], choices=VERSIONS)
    parser.add_argument("--dbmate")
    parser.add_argument("--psql")
    return parser.parse_args()


if __name__ == "__main__":
    main()
