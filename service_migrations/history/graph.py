"""The graph of a history: its heads, its branches, and what a database has of it.

Several heads are meant where each has a branch label of its own, as Alembic's documentation has it for branches that
go on side by side. Without labels, a second head comes from two people who have both added a revision.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from service_migrations.history.revision import Revision

__all__ = [
    "GraphError",
    "clashing_branches",
    "clashing_heads",
    "effective_heads",
    "heads",
    "implied",
    "overlapping",
    "own_labels",
    "resolved",
    "topological",
]


class GraphError(Exception):
    """The revisions are no history: an id or a label is used twice or is missing, or they are a cycle."""


def heads(revisions: Iterable[Revision]) -> tuple[str, ...]:
    """Return the ids that no other revision follows, in the order of the revisions."""
    return tuple(revision.revision for revision in revisions if revision.is_head)


def effective_heads(revisions: Iterable[Revision]) -> tuple[str, ...]:
    """Return the ids that a version table has at the heads, sorted.

    A revision that another one depends on is implied by that one, and has no row of its own.
    """
    revisions = tuple(revisions)
    below = {parent for revision in revisions for parent in (*revision.down_revision, *revision.depends_on)}
    return tuple(sorted(revision.revision for revision in revisions if revision.revision not in below))


def implied(revisions: Mapping[str, Revision], current: Iterable[str], *, dependencies: bool = True) -> set[str]:
    """Return the ids of revisions and of all that they follow and, with *dependencies*, depend on.

    Raises:
        KeyError: one of the ids isn't in the history.

    """
    applied: set[str] = set()
    unvisited = list(current)
    while unvisited:
        revision_id = unvisited.pop()
        if revision_id not in applied:
            revision = revisions[revision_id]
            applied.add(revision_id)
            unvisited += (*revision.down_revision, *revision.depends_on) if dependencies else revision.down_revision
    return applied


def overlapping(revisions: Mapping[str, Revision], current: Iterable[str]) -> tuple[str, str] | None:
    """Return two of a database's revisions of which the second implies the first; None where there are no such two.

    Alembic writes only the upper one into the version table. With both, nobody knows which of them the database has.
    The two are one where it stands there twice, as in a table without its key: Alembic's UPDATE expects one row.

    Raises:
        KeyError: one of the ids isn't in the history.

    """
    current = tuple(current)
    for upper in current if len(current) > 1 else ():
        if current.count(upper) > 1:
            return upper, upper
        below = implied(revisions, (upper,)) - {upper}
        for lower in current:
            if lower in below:
                return lower, upper
    return None


def own_labels(revisions: Iterable[Revision]) -> dict[str, tuple[str, ...]]:
    """Return the branch labels of each head that no other head has, sorted."""
    by_id = {revision.revision: revision for revision in revisions}
    labels = {head: _labels(by_id, head) for head in heads(by_id.values())}
    return {
        head: tuple(sorted(own.difference(*(labels[other] for other in labels if other != head))))
        for head, own in labels.items()
    }


def _labels(by_id: Mapping[str, Revision], head: str) -> set[str]:
    """Return the labels of a head: its own, and those of the revisions that it follows."""
    branch = implied(by_id, (head,), dependencies=False)
    return {label for revision_id in branch for label in by_id[revision_id].branch_labels}


def clashing_heads(revisions: Sequence[Revision]) -> tuple[str, ...]:
    """Return the heads of which one has to go: all that have no branch label of their own; none with a single head."""
    all_heads = heads(revisions)
    if len(all_heads) < 2:  # noqa: PLR2004 - one head is every other's predecessor
        return ()
    labels = own_labels(revisions)
    clashing = tuple(head for head in all_heads if not labels[head])
    return all_heads if len(clashing) == 1 else clashing


def clashing_branches(revisions: Sequence[Revision]) -> tuple[tuple[str, ...], ...]:
    """Return the clashing heads by the branches that they are of: one group where not each branch has several."""
    clashing = clashing_heads(revisions)
    by_id = {revision.revision: revision for revision in revisions}
    groups: dict[frozenset[str], list[str]] = {}
    for head in clashing:
        groups.setdefault(frozenset(_labels(by_id, head)), []).append(head)
    if any(len(group) < 2 for group in groups.values()):  # noqa: PLR2004 - a branch with one head has no two
        return (clashing,)
    return tuple(map(tuple, groups.values()))


def resolved(revisions: Sequence[Revision]) -> tuple[Revision, ...]:
    """Return the revisions with ids instead of branch labels in ``depends_on``.

    Raises:
        GraphError: an id or a label is used twice, or is missing.

    """
    ids = [revision.revision for revision in revisions]
    by_label = {label: revision.revision for revision in revisions for label in revision.branch_labels}
    names = {**by_label, **dict(zip(ids, ids, strict=True))}
    if len(names) < len(ids) + sum(len(revision.branch_labels) for revision in revisions):
        raise GraphError
    try:
        return tuple(
            replace(revision, depends_on=tuple(names[name] for name in revision.depends_on))
            if revision.depends_on
            else revision
            for revision in revisions
        )
    except KeyError as error:
        raise GraphError from error


def topological(revisions: Sequence[Revision]) -> tuple[Revision, ...]:
    """Return the revisions in an order in which they can be applied, with ``is_head`` set.

    Raises:
        GraphError: a parent is missing, or the revisions are a cycle.

    """
    by_id = {revision.revision: revision for revision in revisions}
    followed = {parent for revision in revisions for parent in revision.down_revision}
    sorter = TopologicalSorter(
        {key: (*revision.down_revision, *revision.depends_on) for key, revision in by_id.items()}
    )
    try:
        ordered = [by_id[key] for key in sorter.static_order()]
    except (CycleError, KeyError) as error:
        raise GraphError from error
    return tuple(
        replace(revision, is_head=not revision.is_head)
        if revision.is_head is (revision.revision in followed)
        else revision
        for revision in ordered
    )
