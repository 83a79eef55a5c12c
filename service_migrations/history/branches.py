"""The two branches of a history that has two heads: my revisions, and those of the team's branch."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from service_migrations.errors import UsageError
from service_migrations.git import TEAM_BRANCHES, is_commit, try_git, unknown_commit
from service_migrations.history import graph
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History
from service_migrations.monorepo import Service

__all__ = ["Branch", "branch_with", "branches", "revisions_in_base"]

_GREP = ("grep", "-h", "-I", "--no-color", "--no-line-number", "--no-column", "-e", "^revision")
"""The options undo what a person's own configuration of git adds to each line."""
_REVISION = re.compile(r"^revision\b[^=]*=\s*[\"']([^\"']+)[\"']", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Branch:
    """A head, and the revisions below it that the other head doesn't have, oldest first."""

    head: str
    own: tuple[Revision, ...]

    @property
    def ids(self) -> frozenset[str]:
        """The ids of its own revisions."""
        return frozenset(revision.revision for revision in self.own)


def branches(
    history: History, base: str | None = None, mine: str | None = None, theirs: str | None = None
) -> tuple[tuple[Branch, Branch], ...]:
    """Return the two branches of a history that has two heads too many, for each label whose heads these are.

    Heads with branch labels of their own don't count.

    Args:
        history: the history.
        base: the commit that has their revisions, for a message.
        mine: an id of one of several heads' own, or its beginning.
        theirs: the same of another one; where both are given, there may be more than two heads.

    Raises:
        UsageError: there is another number of such heads.

    """
    return tuple(_pair(history, heads, base, mine, theirs) for heads in graph.clashing_branches(history.revisions))


def _pair(
    history: History, heads: tuple[str, ...], base: str | None, mine: str | None, theirs: str | None
) -> tuple[Branch, Branch]:
    by_id = {revision.revision: revision for revision in reversed(history.revisions)}
    below = {head: graph.implied(by_id, (head,), dependencies=False) for head in heads}

    def branch(head: str, *others: str) -> Branch:
        ids = below[head].difference(*(below[other] for other in others))
        return Branch(head, tuple(by_id[each] for each in by_id if each in ids))

    if len(heads) != 2:  # noqa: PLR2004 - mine and theirs
        each_own = [branch(head, *(other for other in heads if other != head)) for head in heads]
        if mine is None or theirs is None:
            folder = history.service.shown_locations
            raise UsageError(
                f"{folder} has {len(heads)} heads: {', '.join(heads)}.",
                service=history.service,
                path=folder,
                hint=f"Put them on top of each other, two at a time: {_first_step(history, each_own, base)}, and again "
                "for the next. Nothing was changed.",
            )
        chosen = (
            branch_with(each_own, mine, "--revision", history.service).head,
            branch_with(each_own, theirs, "--onto", history.service).head,
        )
        heads = tuple(head for head in heads if head in chosen)
        if len(heads) != 2:  # noqa: PLR2004 - both are of one
            text = f"--revision {mine!r} and --onto {theirs!r} are of the same head, {heads[0]}. Nothing was changed."
            raise UsageError(text, service=history.service)
    first, second = heads
    return branch(first, second), branch(second, first)


def _first_step(history: History, each_own: list[Branch], base: str | None) -> str:
    """Return the command that joins two of more than two heads; git knows the team's, if it has one of them."""
    mine, theirs = "<yours>", "<theirs>"
    try:
        known = revisions_in_base(history.service, base)[1]
    except UsageError:
        known = frozenset()
    of_team = [branch.head for branch in each_own if branch.ids & known]
    if len(of_team) == 1:
        theirs = of_team[0]
        mine = next(branch.head for branch in each_own if branch.head != theirs)
    return f"inv db.rebase --service {history.service} --revision {mine} --onto {theirs}"


def revisions_in_base(service: Service, base: str | None) -> tuple[str, frozenset[str]]:
    """Return the name of the base commit and the ids of the revisions that a service has in it.

    Args:
        service: the service.
        base: the commit; None for the first of origin/HEAD, origin/main, origin/master, main and master that exists.

    Raises:
        UsageError: the folder is not in a git repository, or there is no such commit.

    """
    hint = f"Name your own head: inv db.rebase --service {service} --revision <id>"
    locations = [location for location in service.version_locations if location.is_dir()]
    for location in locations:
        if try_git(location, "rev-parse", "--git-dir") is None:
            raise UsageError(
                f"{location} is not in a git repository, so it isn't known whose revisions are whose.",
                service=service,
                hint=hint,
            )
    for name in (base,) if base is not None else TEAM_BRANCHES:
        if not any(is_commit(location, name) for location in locations):
            continue
        # a file may have been renamed; what counts is the id in it
        matching_lines = [try_git(location, *_GREP, name, "--", ".") or "" for location in locations]
        return name, frozenset(_REVISION.findall("\n".join(matching_lines)))
    if base is not None:
        raise unknown_commit(service.root, base, "--base").of(service).with_hint(hint)
    text = f"git knows none of {', '.join(TEAM_BRANCHES)}."
    raise UsageError(text, service=service, hint=f"Name a commit with --base. {hint}")


def branch_with(both: Collection[Branch], prefix: str, option: str, service: Service) -> Branch:
    """Return the branch that has a revision whose id is *prefix*, or begins with it.

    Raises:
        UsageError: neither branch has one, or both have.

    """
    matches = [branch for branch in both if prefix in branch.ids] or [
        branch for branch in both if prefix and any(revision_id.startswith(prefix) for revision_id in branch.ids)
    ]
    if len(matches) != 1:
        heads = ", ".join(branch.head for branch in both)
        raise UsageError(f"{option} {prefix!r} doesn't select one head. Heads: {heads}.", service=service)
    return matches[0]
