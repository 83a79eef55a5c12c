"""The board: the progress of many services, as live lines on a terminal and as plain lines elsewhere."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

from service_migrations.tasks import console

if TYPE_CHECKING:
    from service_migrations.rollout.rollout import News

__all__ = ["Board"]

_REFRESH = 0.1
"""Seconds between two updates: Live would update from a thread, and a process with threads can't fork."""
_MARGIN = 3


class Board:
    """The display of a rollout's events; at the end of its context the live lines are removed."""

    def __init__(self, services: Sequence[str]) -> None:
        self._states = dict.fromkeys(services, "waiting")
        self._drawn_at, self._has_news = 0.0, True
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

    def show(self, news: "News") -> None:
        """Show an event of a service; an error is printed at once, and stays."""
        if news.line is not None:
            console.note(f"{news.service}: {news.line}")
        elif news.result is not None:
            self._states[news.service] = news.result.state
            if news.result.error:
                console.note(str(news.result.error))
        elif news.revision is None:
            self._states[news.service] = "running"
        else:
            self._states[news.service] = f"{news.number} of {news.count}, {news.revision}"
            if self._live is None:
                console.note(f"{news.service}: {self._states[news.service]}")
        self._has_news = True

    def draw(self) -> None:
        """Update the live lines, if there is news and the last update is old enough."""
        if self._live is not None and self._has_news and time.monotonic() - self._drawn_at > _REFRESH:
            self._drawn_at, self._has_news = time.monotonic(), False
            self._live.update(self._lines(), refresh=True)

    def _lines(self) -> Any:
        height = max(self._live.console.size.height - _MARGIN, 1)
        names = sorted(self._states, key=lambda name: _rank(self._states[name]))
        lines = [f"{name}: {self._states[name]}" for name in sorted(names[:height])]
        if len(names) > height:
            ended_count = sum(_rank(state) > 1 for state in self._states.values())
            lines.append(f"{ended_count} of {len(names)} services have ended")
        return _text("\n".join(lines))


def _live() -> Any:
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(stderr=True), auto_refresh=False, transient=True)


def _text(lines: str) -> Any:
    from rich.text import Text

    return Text(lines, no_wrap=True, overflow="ellipsis")


def _rank(state: str) -> int:
    """Return the rank of a state: where a terminal has too few lines for all, the highest are left out."""
    return {"waiting": 1, "failed": 2, "unknown": 2}.get(state, 3 if state in ("done", "stopped") else 0)
