"""The line of a commit that says why a released revision was changed: ``Migration-Edit: <revision> <reason>``.

It stands for the revision as it is in that commit: a later change needs a line of its own.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.git import GitError, git

__all__ = ["TRAILER", "Trailer", "trailers"]

TRAILER = "Migration-Edit"
_LINE = re.compile(
    rf"^{TRAILER}:[ \t]*(?:(?P<service>[\w-]+)/)?(?P<revision>\S+)[ \t]+(?P<reason>\S.*)$", re.MULTILINE | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Trailer:
    """One line: the service is empty where only the revision is named."""

    commit: str
    service: str
    revision: str
    reason: str

    def names(self, revision: str, service: str = "") -> bool:
        """Whether it is about a revision of a service; without a service, about the service of that name."""
        return self.revision == revision and self.service in ("", service)


def trailers(root: Path, since: str) -> list[Trailer]:
    """Return the lines of the commits that HEAD has and a released one hasn't, newest first.

    A host that joins the commits of a branch puts other lines behind them, so the last paragraph isn't asked for.

    Raises:
        UsageError: git fails.

    """
    try:
        log = git(root, "log", "-z", "--format=%H%n%B", f"{since}..HEAD", "--")
    except GitError as error:
        raise UsageError(f"git can't read the commits since {since}: {error}.") from None
    results = []
    for text in log.split("\0"):
        commit, _, message = text.partition("\n")
        for match in _LINE.finditer(message):
            service = (match["service"] or "").replace("-", "_")
            results.append(Trailer(commit, service, match["revision"], match["reason"].strip()))
    return results
