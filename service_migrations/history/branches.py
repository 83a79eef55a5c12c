"""The two branches of a history that has two heads: my revisions, and those of the team's branch."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from service_migrations.errors import UsageError
from service_migrations.git import TEAM_BRANCHES, is_commit, try_git
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


def branches(history: History) -> tuple[tuple[Branch, Branch], ...]:
    """Return the two branches of a history that has two heads too many, for each label whose heads these are.

    Heads with branch labels of their own don't count.

    Raises:
        UsageError: there is another number of such heads.

    """
    return tuple(_pair(history, heads) for heads in graph.clashing_branches(history.revisions))


def _pair(history: History, heads: tuple[str, ...]) -> tuple[Branch, Branch]:
    folder = history.service.shown_locations
    if len(heads) != 2:  # noqa: PLR2004 - mine and theirs
        raise UsageError(
            f"{folder} has {len(heads)} heads: {', '.join(heads)}.",
            service=history.service,
            path=folder,
            hint="db.rebase takes two, mine and theirs: change down_revision of the others by hand. "
            "Nothing was changed.",
        )
    first, second = heads
    by_id = {revision.revision: revision for revision in reversed(history.revisions)}
    below = {head: graph.implied(by_id, (head,), dependencies=False) for head in (first, second)}
    return (
        Branch(first, tuple(by_id[each] for each in by_id if each in below[first] - below[second])),
        Branch(second, tuple(by_id[each] for each in by_id if each in below[second] - below[first])),
    )


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
    wanted = f"commit {base!r}" if base is not None else f"branch {', '.join(TEAM_BRANCHES)}"
    raise UsageError(f"git has no {wanted}.", service=service, hint=f"Name one with --base. {hint}")


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
