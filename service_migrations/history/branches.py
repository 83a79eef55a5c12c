"""Two heads of one service as two branches: which of them is mine, and which is already in the team's branch."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from service_migrations.errors import UsageError
from service_migrations.git import try_git
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History
from service_migrations.monorepo import Service

__all__ = ["Branch", "branches", "chosen", "in_base"]

_BASES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
_GREP = ("grep", "-h", "-I", "--no-color", "--no-line-number", "--no-column", "-e", "^revision")
"""Whatever a person's own configuration adds to each line."""
_REVISION = re.compile(r"^revision\b[^=]*=\s*[\"']([^\"']+)[\"']", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Branch:
    """A head, and the revisions below it that the other head doesn't have, oldest first."""

    head: str
    own: tuple[Revision, ...]

    @property
    def ids(self) -> frozenset[str]:
        """The ids of its own revisions."""
        return frozenset(one.revision for one in self.own)


def branches(history: History) -> tuple[Branch, Branch]:
    """Return the branches of a history that has two heads.

    Raises:
        UsageError: it has another number of heads.

    """
    where = history.service.relative(history.service.versions)
    if len(history.heads) != 2:  # noqa: PLR2004 - mine and theirs
        raise UsageError(
            f"{where} has {len(history.heads)} heads: {', '.join(history.heads)}.",
            service=history.service,
            path=where,
            hint="db.rebase takes two, mine and theirs: change down_revision of the others by hand. "
            "Nothing was changed.",
        )
    one, other = history.heads
    below = {head: history.applied((head,)) for head in (one, other)}
    return (
        Branch(one, tuple(found for found in below[one] if found not in below[other])),
        Branch(other, tuple(found for found in below[other] if found not in below[one])),
    )


def in_base(service: Service, base: str | None) -> tuple[str, frozenset[str]]:
    """Return a commit's name, and the ids of the revisions that a service has in it.

    Args:
        service: the service.
        base: the commit; None for the first of origin/HEAD, origin/main, origin/master, main and master that exists.

    Raises:
        UsageError: this is no git repository, or it has no such commit.

    """
    mend = f"Name your own head: inv db.rebase --service {service} --revision <id>"
    if try_git(service.versions, "rev-parse", "--git-dir") is None:
        raise UsageError(
            f"{service.versions} is in no git repository that can be asked whose revision is whose.",
            service=service,
            hint=mend,
        )
    for name in (base,) if base is not None else _BASES:
        # a name that begins with a dash would be an option
        if (
            name.startswith("-")
            or try_git(service.versions, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") is None
        ):
            continue
        # a file may have been renamed; what counts is the id in it
        found = try_git(service.versions, *_GREP, name, "--", ".") or ""
        return name, frozenset(_REVISION.findall(found))
    wanted = f"commit {base!r}" if base is not None else f"branch {', '.join(_BASES)}"
    raise UsageError(f"git has no {wanted}.", service=service, hint=f"Name one with --base. {mend}")


def chosen(pair: Collection[Branch], wanted: str, option: str, service: Service) -> Branch:
    """Return the branch one of whose own revisions begins with an id.

    Raises:
        UsageError: none does, or both do.

    """
    found = [one for one in pair if wanted and any(name.startswith(wanted) for name in one.ids)]
    if len(found) != 1:
        heads = ", ".join(one.head for one in pair)
        raise UsageError(f"{option} {wanted!r} tells neither head from the other. Heads: {heads}.", service=service)
    return found[0]
