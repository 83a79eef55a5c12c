"""What was released is never edited: the histories at a tag against those of the working tree, without a database."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.git import commit_id, is_shallow, refuse_no_checkout, try_git
from service_migrations.monorepo import Service, discover
from service_migrations.review.changes import Change, changes
from service_migrations.review.revision_file import RevisionFile, by_key
from service_migrations.review.snapshot import Contents, Snapshot, at_commit, in_working_tree
from service_migrations.review.trailers import TRAILER, Trailer, trailers

__all__ = ["Released", "ReleasedHistory", "histories_at", "newest_tag", "released", "tags"]

log = logging.getLogger(__name__)

_FETCH = "This clone has the last commits only: git fetch --unshallow --tags"


@dataclass(frozen=True, slots=True)
class ReleasedHistory:
    """One service's history since it was released.

    Attributes:
        service: the service's name.
        revisions: how many were released; none of a new service.
        changes: what has happened to them.

    """

    service: str
    revisions: int
    changes: tuple[Change, ...]

    @property
    def faults(self) -> tuple[Change, ...]:
        """The changes that nobody has given a reason for."""
        return tuple(change for change in self.changes if change.is_fault)


@dataclass(frozen=True, slots=True)
class Released:
    """The histories of some services since a commit, which has the name ``since``."""

    since: str
    commit: str
    histories: tuple[ReleasedHistory, ...]


def newest_tag(root: Path, pattern: str) -> str | None:
    """Return the newest tag below HEAD whose name matches a pattern, such as ``v*``; None without one.

    Raises:
        UsageError: the folder is no checkout of git.

    """
    refuse_no_checkout(root)
    tag = try_git(root, "describe", "--tags", "--abbrev=0", f"--match={pattern}")
    return tag.strip() if tag else None


def tags(root: Path, pattern: str) -> tuple[str, ...]:
    """Return the tags whose names match a pattern, the lowest version first.

    Raises:
        UsageError: the folder is no checkout of git.

    """
    refuse_no_checkout(root)
    names = try_git(root, "tag", "--list", "--sort=version:refname", "--", pattern)
    return tuple((names or "").split())


def histories_at(since: str, services: Sequence[Service]) -> dict[str, dict[str, bytes]]:
    """Return the revision files of services at a commit: by service, each path with its text.

    Raises:
        UsageError: as of ``released``.

    """
    root = services[0].root
    return _Comparison(root, since, _commit(root, since), discover(root)).histories(services)


def released(services: Sequence[Service], since: str, *, are_all: bool = False) -> Released:
    """Compare histories of the working tree with what they were at a commit. Only git and files are read.

    Args:
        services: the services.
        since: a tag, a branch or a commit.
        are_all: whether these are all services, so that one that is gone is found too.

    Raises:
        UsageError: the folder is no checkout, git doesn't know the commit, or the clone is too shallow.

    """
    root = services[0].root
    commit = _commit(root, since)
    return _Comparison(root, since, commit, services if are_all else discover(root)).of(services, are_all=are_all)


def _commit(root: Path, name: str) -> str:
    commit = commit_id(root, name, "--since")
    if not _is_below_head(root, commit) and is_shallow(root):
        # without the commits between, a backport and an edit look the same
        raise UsageError(f"--since {name!r}: what lies between it and HEAD isn't here.", hint=_FETCH)
    return commit


def _is_below_head(root: Path, commit: str) -> bool:
    return try_git(root, "merge-base", "--is-ancestor", commit, "HEAD") is not None


def _file(files: Mapping[str, RevisionFile], change: Change) -> RevisionFile | None:
    """Return the file that a change is of; None where it is gone."""
    return files.get(change.revision) or next((file for file in files.values() if file.path == change.path), None)


class _Comparison:
    """The comparison with one commit: what is read for it is read once."""

    def __init__(self, root: Path, since: str, commit: str, services: Sequence[Service]) -> None:
        self._root, self._since, self._commit, self._services = root, since, commit, services
        self._contents = Contents(root)
        self._today = in_working_tree(services, self._contents, len(commit))
        self._snapshots: dict[str, Snapshot] = {}

    def of(self, services: Sequence[Service], *, are_all: bool) -> Released:
        then, names = self._snapshot(self._commit), [service.name for service in services]
        # a history of which every file is there as it was has no change
        different = {
            name for name in names if not set(then.histories[name].values()) <= set(self._today[name].values())
        }
        self._contents.load(oid for name in different for oid in then.histories[name].values())
        histories = [
            ReleasedHistory(name, len(then.histories[name]), tuple(self._changes(name)) if name in different else ())
            for name in names
        ]
        if are_all:
            histories += [
                ReleasedHistory(name, len(history), (self._removed(name, history),))
                for name, history in then.removed.items()
            ]
        return Released(self._since, self._commit, tuple(sorted(histories, key=attrgetter("service"))))

    def histories(self, services: Sequence[Service]) -> dict[str, dict[str, bytes]]:
        by_service = {service.name: self._snapshot(self._commit).histories[service.name] for service in services}
        self._contents.load(oid for history in by_service.values() for oid in history.values())
        return {
            name: {path: self._contents[oid] for path, oid in history.items()} for name, history in by_service.items()
        }

    def _changes(self, name: str) -> Iterator[Change]:
        before, now = self._files(self._commit, name), self._files_of(self._today[name])
        for file in before.values():
            if file.header is None:
                text = "its id can't be read without running it, so its name stands for it"
                log.warning("%s: %s at %s: %s.", name, file.path, self._since, text)
        for change in changes(self._since, before, now, partial(self._is_backport, name)):
            yield change if change.kind == "backport" else self._explained(name, change, _file(now, change))

    def _removed(self, name: str, history: Mapping[str, str]) -> Change:
        text = f"is a service of {self._since} that isn't here: its {len(history)} revisions are gone with it"
        change = Change("removed", name, min(history).rpartition("/")[0], text)
        for trailer in self._trailers:
            if trailer.names(name) and name not in self._snapshot(trailer.commit).removed:
                return replace(change, reason=trailer.reason, commit=trailer.commit)
        return change

    def _is_backport(self, name: str, revision: str) -> bool:
        """Whether a revision was made after the histories of the release and of HEAD had parted."""
        is_parted, base = self._parting
        return is_parted and (base is None or revision not in self._files(base, name))

    def _explained(self, name: str, change: Change, now: RevisionFile | None) -> Change:
        """Return a change with its reason, where a commit has given one for the revision as it is now."""
        for trailer in self._trailers:
            if not trailer.names(change.revision, name):
                continue
            if not trailer.service and (other := self._other_with(change.revision, name)):
                log.warning(
                    "%s: %s: %s is a revision of %s too: write %s/%s.",
                    *(trailer.commit[:12], TRAILER, change.revision, other, name, change.revision),
                )
                continue
            then = _file(self._files(trailer.commit, name), change)
            if then.equals(now) if then and now else then is now:
                return replace(change, reason=trailer.reason, commit=trailer.commit)
        return change

    def _other_with(self, revision: str, name: str) -> str | None:
        """Return another service that has or had a revision of this id, such as 0001; None without one."""
        then = self._snapshot(self._commit)
        for service in self._services:
            for oid in {*self._today[service.name].values(), *then.histories[service.name].values()}:
                source = self._contents.known.get(oid, b"")  # of an equal history, the files of today are those of then
                if service.name != name and revision.encode() in source and RevisionFile.of("", source).key == revision:
                    return service.name
        return None

    @cached_property
    def _trailers(self) -> list[Trailer]:
        return trailers(self._root, self._commit)

    @cached_property
    def _parting(self) -> tuple[bool, str | None]:
        """Whether the released commit isn't below HEAD, and the last commit below both; None without one."""
        if _is_below_head(self._root, self._commit):
            return False, self._commit
        base = try_git(self._root, "merge-base", self._commit, "HEAD")
        return True, base.strip() if base else None

    def _snapshot(self, commit: str) -> Snapshot:
        if commit not in self._snapshots:
            name = self._since if commit == self._commit else commit[:12]
            self._snapshots[commit] = at_commit(name, commit, self._services, self._today)
        return self._snapshots[commit]

    def _files(self, commit: str, name: str) -> dict[str, RevisionFile]:
        history = self._snapshot(commit).histories[name]
        self._contents.load(history.values())
        return self._files_of(history)

    def _files_of(self, history: Mapping[str, str]) -> dict[str, RevisionFile]:
        return by_key(RevisionFile.of(path, self._contents[oid]) for path, oid in history.items())
