"""The changes of one history since it was released: what a database that has run it would never notice."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from service_migrations.review.revision_file import RevisionFile

__all__ = ["Change", "Kind", "changes"]

Kind = Literal["edited", "removed", "renamed", "re-parented", "inserted", "backport"]
"""What happened to a revision; of these only ``backport`` is no fault."""

_HEADER = {
    "down_revision": ("follows", "nothing"),
    "depends_on": ("depends on", "nothing"),
    "branch_labels": ("has the branch label", "none"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a released history.

    Attributes:
        kind: what happened.
        revision: the id; of a file whose id can't be read, the file's name.
        path: the file, relative to the top level; the released one where it is gone.
        text: what happened, in words.
        reason: why, as a commit says it; empty where none does.
        commit: that commit.

    """

    kind: Kind
    revision: str
    path: str
    text: str
    reason: str = ""
    commit: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether nobody has said why."""
        return self.kind != "backport" and not self.reason

    def __str__(self) -> str:
        reason = f" ({self.commit[:12]}: {self.reason})" if self.reason else ""
        return f"{self.path}: {self.revision} {self.text}{reason}"


def changes(
    since: str,
    released: Mapping[str, RevisionFile],
    now: Mapping[str, RevisionFile],
    is_backport: Callable[[str], bool],
) -> list[Change]:
    """Return the changes of a history.

    Args:
        since: the name of what was released.
        released: its files by id.
        now: the files of today.
        is_backport: whether a revision of both was made after their histories had parted.

    """
    results: list[Change] = []
    renamed_keys, backports, known = set[str](), set[str](), set(released)
    by_name = {file.name: file for file in now.values()}
    for key, before in released.items():
        after = now.get(key) or _of_one_name(before, by_name.get(before.name))
        if after is not None:
            known.add(after.key)
            if not before.equals(after):
                results += (altered := _altered(since, before, after, is_backport))
                backports |= {key for change in altered if change.kind == "backport"}
        elif before.header or not any(before.equals(file) for file in now.values()):  # else it was moved
            renamed = _renamed(before, released, now)
            renamed_keys |= {renamed.key} if renamed else set()
            results.append(_gone(since, before, renamed))
    for index, change in enumerate(results):
        skipped = _unreleased([change.revision], known, now) if change.revision in backports else ()
        if skipped:
            text = (
                f"{change.text}. A database of {since} has it, and would never run what is below: {', '.join(skipped)}"
            )
            results[index] = replace(change, text=text)
    text = f"was inserted below what was released: a database of {since} would never run it"
    below = _unreleased((key for key in released if key not in backports), known, now, backports)
    return results + [Change("inserted", key, now[key].path, text) for key in below if key not in renamed_keys]


def _of_one_name(before: RevisionFile, after: RevisionFile | None) -> RevisionFile | None:
    """Return the file of today that has the name of a released one, where the id of one of them can't be read."""
    return after if after and not (before.header and after.header) else None


def _gone(since: str, before: RevisionFile, renamed: RevisionFile | None) -> Change:
    if renamed:
        text = f"has the id {renamed.key} now, in {renamed.path}: a database of {since} looks for the old one"
        return Change("renamed", before.key, before.path, text)
    text = f"was removed: a database of {since} that is at it can't be upgraded"
    return Change("removed", before.key, before.path, text)


def _altered(since: str, before: RevisionFile, after: RevisionFile, is_backport: Callable[[str], bool]) -> list[Change]:
    differing, is_body_equal = _differing(before, after), before.does_as(after)
    moved = _moved(before, after, differing)
    if differing == ["down_revision"] and is_body_equal and is_backport(before.key):
        return [Change("backport", before.key, after.path, f"is a backport, which {moved}")]
    results = []
    if differing:
        text = f"{moved}: a database of {since} has it in its old place"
        results.append(Change("re-parented", before.key, after.path, text))
    if not differing or not is_body_equal:
        text = f"was edited: a database of {since} has run it as it was"
        results.append(Change("edited", before.key, after.path, text))
    return results


def _renamed(before: RevisionFile, released: Collection[str], now: Mapping[str, RevisionFile]) -> RevisionFile | None:
    """Return a new revision that does what a removed one did, in its file or at its place in the history."""
    return next(
        (
            file
            for key, file in now.items()
            if key not in released
            and file.header
            and (file.path == before.path or file.parents == before.parents)
            and before.does_as(file)
        ),
        None,
    )


def _differing(before: RevisionFile, after: RevisionFile) -> list[str]:
    """Return what differs in the places of two revisions."""
    if before.header is None or after.header is None:
        return []
    return [name for name in _HEADER if getattr(before.header, name) != getattr(after.header, name)]


def _moved(before: RevisionFile, after: RevisionFile, differing: Iterable[str]) -> str:
    parts = []
    for name in differing:
        verb, nothing = _HEADER[name]
        was, is_now = (", ".join(getattr(file.header, name)) or nothing for file in (before, after))
        parts.append(f"{verb} {is_now} instead of {was}")
    return ", ".join(parts)


def _unreleased(
    revisions: Iterable[str],
    released: Collection[str],
    now: Mapping[str, RevisionFile],
    passed_over: Collection[str] = (),
) -> list[str]:
    """Return the ids below some revisions that weren't released, in the order of the files."""
    labels = {label: key for key, file in now.items() if file.header for label in file.header.branch_labels}
    visited: set[str] = set()
    unvisited = [parent for key in revisions if key in now for parent in now[key].parents]
    while unvisited:
        name = unvisited.pop()
        key = name if name in now else labels.get(name, "")
        if key in now and key not in visited and key not in passed_over:
            visited.add(key)
            unvisited += now[key].parents
    return [key for key in now if key in visited and key not in released]
