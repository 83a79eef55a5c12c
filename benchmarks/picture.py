"""The picture of how each contestant grows with the number of services, as SVG and without a library."""

import math
from collections.abc import Mapping, Sequence

__all__ = ["picture"]

_COLOURS = ("#0b7285", "#e67700", "#868e96", "#c92a2a", "#5f3dc4")
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 340, 260, 56, 40, 70

Lines = Mapping[str, Sequence[tuple[int, float]]]
"""By contestant: seconds for each number of services."""


def picture(panels: Mapping[str, Lines]) -> str:
    """Return an SVG with a panel for each title; both axes are logarithmic."""
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    points = [point for lines in panels.values() for line in lines.values() for point in line]
    across, up = (_Scale([float(point[axis]) for point in points]) for axis in (0, 1))
    width = len(panels) * (_WIDTH + _GAP) + _LEFT
    height = _TOP + _HEIGHT + 60 + 18 * len(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        "<style>text { font-size: 12px }</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, (title, lines) in enumerate(panels.items()):
        parts += _panel(_LEFT + number * (_WIDTH + _GAP), title, lines, names, across, up)
    for number, name in enumerate(names):
        y = _TOP + _HEIGHT + 56 + 18 * number
        parts.append(f'<rect x="{_LEFT}" y="{y - 9}" width="18" height="4" fill="{_COLOURS[number % len(_COLOURS)]}"/>')
        parts.append(f'<text x="{_LEFT + 26}" y="{y - 3}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    def __init__(self, values: list[float]) -> None:
        self.low, self.high = math.log10(min(values)), math.log10(max(values))

    def at(self, value: float) -> float:
        return (math.log10(value) - self.low) / ((self.high - self.low) or 1)

    def ticks(self) -> list[float]:
        return [
            digit * 10.0**power
            for power in range(math.floor(self.low), math.ceil(self.high) + 1)
            for digit in (1, 2, 5)
            if self.low - 1e-9 <= math.log10(digit * 10.0**power) <= self.high + 1e-9
        ]


def _panel(left: int, title: str, lines: Lines, names: list[str], across: _Scale, up: _Scale) -> list[str]:
    def x(value: float) -> float:
        return round(left + across.at(value) * _WIDTH, 1)

    def y(value: float) -> float:
        return round(_TOP + _HEIGHT * (1 - up.at(value)), 1)

    bottom = _TOP + _HEIGHT
    parts = [f'<text x="{left}" y="{_TOP - 16}" font-weight="bold">{title}</text>']
    for tick in up.ticks():
        parts.append(f'<path d="M{left} {y(tick)}H{left + _WIDTH}" stroke="#dee2e6"/>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4}" text-anchor="end">{tick:g} s</text>')
    counts = sorted({count for line in lines.values() for count, _ in line})
    parts += [f'<text x="{x(count)}" y="{bottom + 18}" text-anchor="middle">{count}</text>' for count in counts]
    parts.append(f'<text x="{left + _WIDTH / 2}" y="{bottom + 36}" text-anchor="middle">services</text>')
    for name, line in lines.items():
        colour = _COLOURS[names.index(name) % len(_COLOURS)]
        path = " ".join(f"{x(count)},{y(seconds)}" for count, seconds in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x(count)}" cy="{y(seconds)}" r="3.5" fill="{colour}"/>' for count, seconds in line]
    return parts
