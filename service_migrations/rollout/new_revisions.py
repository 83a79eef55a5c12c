"""The revisions that are new or edited since a commit: a file that was only moved or formatted does what it did."""

from collections.abc import Iterable
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.files import SOURCE, read_bytes
from service_migrations.git import GitError, blobs, files, merge_base
from service_migrations.history.files.fingerprint import fingerprint_or_checksum
from service_migrations.rollout.affected import changed

__all__ = ["new_revisions"]


def new_revisions(root: Path, base: str, paths: Iterable[str]) -> frozenset[str]:
    """Return which files of revisions are new since this branch left *base*, or do something else than before.

    Args:
        root: the monorepo's.
        base: a commit, branch or tag.
        paths: the files, relative to the root.

    Raises:
        UsageError: git isn't installed, the folder is no checkout, or git doesn't know the base.

    """
    all_changed = {path.as_posix() for path in changed(root, base)}
    candidates = sorted(all_changed.intersection(paths))
    if not candidates:
        return frozenset()
    try:
        before = files(root, merge_base(root, base))
        oids = [before[path].oid for path in all_changed if path.endswith(".py") and path in before]
        known = {fingerprint_or_checksum(source) for source in blobs(root, oids).values()}
    except GitError as error:
        raise UsageError(f"git failed: {error}.") from None
    sources = ((path, read_bytes(root / path, SOURCE)) for path in candidates)
    return frozenset(path for path, source in sources if fingerprint_or_checksum(source) not in known)
