"""The board: what many services are at, as live lines on a terminal and as plain ones elsewhere."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

from service_migrations.tasks import console

if TYPE_CHECKING:
    from service_migrations.rollout.rollout import News

__all__ = ["Board"]

_REFRESH = 0.1
"""Seconds between two drawings: Live would draw from a thread of its own, and a process with threads can't fork."""
_MARGIN = 3


class Board:
    """Shows the news of a rollout; a context, at whose end the live lines are gone and the results can be printed."""

    def __init__(self, services: Sequence[str]) -> None:
        self._states = dict.fromkeys(services, "waiting")
        self._drawn, self._is_new = 0.0, True
        self._live: Any = _live() if console.is_live() else None

    def __enter__(self) -> Self:
        """Begin to draw, where a person watches."""
        self._context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """End the live lines."""
        self._context.__exit__(*error)  # type: ignore[arg-type]

    @property
    def _context(self) -> AbstractContextManager[Any]:
        return self._live or nullcontext()

    def tell(self, news: "News") -> None:
        """Show what happens to a service; an error is told at once, and stays."""
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
        self._is_new = True

    def draw(self) -> None:
        """Draw what is new, if a person watches and the last picture is old enough."""
        if self._live is not None and self._is_new and time.monotonic() - self._drawn > _REFRESH:
            self._drawn, self._is_new = time.monotonic(), False
            self._live.update(self._picture(), refresh=True)

    def _picture(self) -> Any:
        height = max(self._live.console.size.height - _MARGIN, 1)
        order = sorted(self._states, key=lambda name: _rank(self._states[name]))
        lines = [f"{name}: {self._states[name]}" for name in sorted(order[:height])]
        if len(order) > height:
            ended = sum(_rank(state) > 1 for state in self._states.values())
            lines.append(f"{ended} of {len(order)} services have ended")
        return _text("\n".join(lines))


def _live() -> Any:
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(stderr=True), auto_refresh=False, transient=True)


def _text(lines: str) -> Any:
    from rich.text import Text

    return Text(lines, no_wrap=True, overflow="ellipsis")


def _rank(state: str) -> int:
    """Return what is left out last where a terminal is too low for all: what runs, then what waits."""
    return {"waiting": 1, "failed": 2, "unknown": 2}.get(state, 3 if state in ("done", "stopped") else 0)
