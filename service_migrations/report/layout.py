"""The places of a graph's nodes in layers, by igraph, which the extra ``service-migrations[report]`` installs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from service_migrations.errors import ConfigurationError

__all__ = ["EXTRA", "Layered", "is_installed", "layered"]

EXTRA = "service-migrations[report]"
"""The extra that a picture needs."""


@dataclass(frozen=True, slots=True)
class Layered:
    """The places of the nodes of a graph.

    Attributes:
        layers: of each node, the number of its layer.
        places: of each node, its place across its layer; two in one layer differ by at least 1.
        bends: of each edge, its places across the layers between its two nodes, from its first node on.

    """

    layers: tuple[int, ...]
    places: tuple[float, ...]
    bends: tuple[tuple[float, ...], ...]


def is_installed() -> bool:
    """Whether a layout can be computed."""
    try:
        import igraph  # noqa: F401, PLC0415 - an extra
    except Exception:  # noqa: BLE001 - such as a library of the system that is missing
        return False
    return True


def layered(count: int, edges: Sequence[tuple[int, int]], layers: Sequence[int] | None = None) -> Layered:
    """Return a layout in layers in which few edges cross (Sugiyama's).

    An edge over several layers gets a node of its own in each layer between, so that it passes between the others.

    Args:
        count: how many nodes there are, numbered from 0.
        edges: pairs of two different nodes; cycles are allowed.
        layers: the layer of each node; by the edges where they are None.

    Raises:
        ConfigurationError: igraph isn't installed.

    """
    try:
        from igraph import Graph  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "the layout of a picture needs igraph, which isn't installed.", hint=f"Install {EXTRA}."
        ) from None
    if layers is None:
        flat = Graph(n=count, edges=list(edges), directed=True).layout_sugiyama()
        layers = [round(flat[node][1]) for node in range(count)]
    known = list(layers)
    extended: list[tuple[int, int]] = []
    bends: list[list[int]] = []
    for start, end in edges:
        step = 1 if known[end] > known[start] else -1
        between = list(range(known[start] + step, known[end], step)) if known[end] != known[start] else []
        nodes = list(range(len(known), len(known) + len(between)))
        known += between
        bends.append(nodes)
        extended += pairwise([start, *nodes, end])
    drawn = Graph(n=len(known), edges=extended, directed=True).layout_sugiyama(layers=known)
    places = [float(drawn[node][0]) for node in range(len(known))]
    return Layered(
        tuple(known[:count]),
        tuple(places[:count]),
        tuple(tuple(places[node] for node in nodes) for nodes in bends),
    )
