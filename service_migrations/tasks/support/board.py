"""The board: the progress of many services, as live lines on a terminal and as plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

from service_migrations.tasks.support import console

if TYPE_CHECKING:
    from service_migrations.rollout.rollout import Event

__all__ = ["Board"]

_REFRESH = 0.1
"""Seconds between two updates: Live would update from a thread, and a process with threads can't fork."""
_MARGIN = 3
_STYLES = {"waiting": "dim", "done": "green", "failed": "red", "unknown": "red", "stopped": "yellow"}
_RUNNING = "cyan"
"""The colours of the states; rich leaves them out outside a terminal and where NO_COLOR is set."""


class Board:
    """The display of a rollout's events; at the end of its context the live lines are removed.

    A live line has the service, its state or the revision that runs, the seconds since it started, and its target.
    Without *prints_errors*, the errors of services are left to the caller.
    """

    def __init__(self, services: Sequence[str], targets: Mapping[str, str], *, prints_errors: bool = True) -> None:
        self._states = dict.fromkeys(services, "waiting")
        self._targets, self._prints_errors = targets, prints_errors
        self._started: dict[str, float] = {}
        self._drawn_at, self._has_events = 0.0, True
        self._live: Any = _live() if console.is_live() else None

    def __enter__(self) -> Self:
        """Start the live lines, on a terminal."""
        self._context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """End the live lines."""
        self._context.__exit__(*error)  # type: ignore[arg-type]

    @property
    def _context(self) -> AbstractContextManager[Any]:
        return self._live or nullcontext()

    def show(self, event: "Event") -> None:
        """Show an event of a service; an error is printed at once, and stays, unless it is left to the caller."""
        if event.line is not None:
            console.note(f"{event.service}: {event.line}")
        elif event.result is not None:
            self._states[event.service] = event.result.state
            self._started.pop(event.service, None)
            if event.result.error and self._prints_errors:
                console.print_error(event.result.error)
        elif event.revision is None:
            self._states[event.service] = "running"
            self._started[event.service] = time.monotonic()
        elif event.message is not None:
            self._states[event.service] = f"{event.number} of {event.count}, {event.revision} {event.message}"
        else:
            self._states[event.service] = f"{event.number} of {event.count}, {event.revision}"
            if self._live is None:
                console.note(f"{event.service}: {self._states[event.service]}")
        self._has_events = True

    def draw(self) -> None:
        """Update the live lines, if there are events or a second has passed, and the last update is old enough."""
        interval = _REFRESH if self._has_events else 1.0
        if self._live is not None and time.monotonic() - self._drawn_at > interval:
            self._drawn_at, self._has_events = time.monotonic(), False
            self._live.update(self._lines(), refresh=True)

    def _lines(self) -> Any:
        height = max(self._live.console.size.height - _MARGIN, 1)
        names = sorted(self._states, key=lambda name: _rank(self._states[name]))
        lines = [(self._line(name), _STYLES.get(self._states[name], _RUNNING)) for name in sorted(names[:height])]
        if len(names) > height:
            ended_count = sum(_rank(state) > 1 for state in self._states.values())
            lines.append((f"{ended_count} of {len(names)} services have ended", ""))
        return _text(lines)

    def _line(self, name: str) -> str:
        seconds = f" ({time.monotonic() - self._started[name]:.0f} s)" if name in self._started else ""
        target = f" -> {self._targets[name]}" if name in self._targets else ""
        return f"{name}: {self._states[name]}{seconds}{target}"


def _live() -> Any:
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(stderr=True), auto_refresh=False, transient=True)


def _text(lines: Sequence[tuple[str, str]]) -> Any:
    from rich.text import Text

    texts = (Text(console.printable(line, sys.stderr), style) for line, style in lines)
    return Text("\n", no_wrap=True, overflow="ellipsis").join(texts)


def _rank(state: str) -> int:
    """Return the rank of a state: where a terminal has too few lines for all, the highest are left out."""
    return {"waiting": 1, "failed": 2, "unknown": 2}.get(state, 3 if state in ("done", "stopped") else 0)
