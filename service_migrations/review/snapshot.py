"""The revision files of all services at one commit, or in the working tree, by the names of their contents.

Two files with one name are equal, and most are: only the others are read from git, all with one process, and parsed.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from service_migrations.errors import UsageError
from service_migrations.git import File, GitError, blobs, files
from service_migrations.history.files.locations import is_revision_file, revision_files
from service_migrations.monorepo import Service
from service_migrations.pyproject import FILE
from service_migrations.review.layout import Locations, locations_at, locations_of

__all__ = ["Contents", "Snapshot", "at_commit", "in_working_tree"]

_LINK, _SUBMODULE = "120000", "160000"
_LINKS = 8
"""How many links are followed one after the other; links may form a circle."""
_SHA1_DIGITS = 40

Files = Mapping[str, str]
"""The paths of the files of a history, relative to the top level, each with the name of its content."""


@dataclass(slots=True)
class Contents:
    """The contents of revision files by their names, read when they are needed, and once."""

    root: Path
    known: dict[str, bytes] = field(default_factory=dict)

    def load(self, names: Iterable[str]) -> None:
        """Read the contents that aren't known yet from git.

        Raises:
            UsageError: git fails, or doesn't have one of them.

        """
        missing = [name for name in names if name not in self.known]
        try:
            self.known |= blobs(self.root, missing)
        except GitError as error:
            raise UsageError(f"git can't read what was released: {error}.") from None
        if lost := [name for name in missing if name not in self.known]:
            raise UsageError(
                f"git doesn't have {len(lost)} of the released files here, such as {lost[0]}.",
                hint="Fetch them: git fetch --refetch",
            )

    def __getitem__(self, name: str) -> bytes:
        return self.known[name]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The histories at one commit.

    Attributes:
        histories: the files of each service of today, found where its history was then; of one that had none, nothing.
        removed: the files of each service that is there no longer.

    """

    histories: Mapping[str, Files]
    removed: Mapping[str, Files]


def in_working_tree(services: Sequence[Service], contents: Contents, digits: int) -> dict[str, Files]:
    """Read the revision files of services as they are on disk, committed or not.

    Args:
        services: the services.
        contents: where to put what is read.
        digits: those of a name of git's in this repository: 40 of SHA-1, or 64 of SHA-256.

    """
    algorithm = "sha1" if digits == _SHA1_DIGITS else "sha256"
    top_level = f"{services[0].root.resolve()}{os.sep}"
    histories: dict[str, Files] = {}
    for service in services:
        history: dict[str, str] = {}
        for path in revision_files(service):
            source, place = path.read_bytes(), str(path)
            digest = hashlib.new(algorithm, b"blob %d\0" % len(source), usedforsecurity=False)
            digest.update(source)
            # of thousands of files: Path.relative_to() would take longer than the rest
            history[place.removeprefix(top_level)] = digest.hexdigest()
            contents.known[digest.hexdigest()] = source
        histories[service.name] = history
    return histories


def at_commit(name: str, commit: str, services: Sequence[Service], today: Mapping[str, Files]) -> Snapshot:
    """Return the histories of a commit, by its own configuration.

    A service that the commit doesn't have under its name has the history that was where its revisions are today, or
    else the one with most of its files: it was renamed, or is configured in another way since.

    Args:
        name: the commit, as the user has named it.
        commit: the commit.
        services: the services of today, all of them.
        today: their files.

    Raises:
        UsageError: git fails, or revisions are in a submodule.

    """
    root = services[0].root
    try:
        entries = files(root, commit)
        links = {path: file.oid for path, file in entries.items() if file.mode == _LINK}
        configuration = entries.get(FILE)
        texts = blobs(root, [*links.values(), *([configuration.oid] if configuration else [])])
    except GitError as error:
        raise UsageError(f"git can't read {name}: {error}.") from None
    tree = _Tree(entries, {path: os.fsdecode(texts.get(oid, b"")) for path, oid in links.items()})
    then = locations_at(name, texts.get(configuration.oid, b"") if configuration else b"", entries)
    histories: dict[str, Files] = {service.name: {} for service in services}
    others: dict[str, Files] = {}
    for service_name, locations in then.items():
        (histories if service_name in histories else others)[service_name] = tree.files(locations)
    taken = {path for history in histories.values() for path in history}
    for service in services:
        if histories[service.name]:
            continue
        here = tree.files(locations_of(service))
        if not here or not taken.isdisjoint(here):
            here = _most_equal(today[service.name], others)
        histories[service.name] = here
        taken |= here.keys()
        others = {other: history for other, history in others.items() if taken.isdisjoint(history)}
    return Snapshot(histories, {other: history for other, history in others.items() if history})


def _most_equal(history: Files, others: Mapping[str, Files]) -> Files:
    """Return the history with most of the files of another one; nothing where none has any."""
    oids = set(history.values())
    common = {other: len(oids & set(files.values())) for other, files in others.items()}
    best = max(common, key=lambda other: common[other], default=None)
    return others[best] if best is not None and common[best] else {}


class _Tree:
    """The files of a commit by their folders, with symbolic links followed."""

    def __init__(self, entries: Mapping[str, File], links: Mapping[str, str]) -> None:
        self._entries, self._links = entries, links
        self._by_folder: dict[str, list[str]] = {}
        for path in entries:
            self._by_folder.setdefault(path.rpartition("/")[0], []).append(path)

    def files(self, locations: Locations) -> Files:
        """Return the revision files in some folders, by their real paths.

        Raises:
            UsageError: a folder is in a submodule.

        """
        oids: dict[str, str] = {}
        for location in locations.folders:
            folder = self._resolved(location)
            self._refuse_submodule(folder)
            folders = [folder]
            if locations.recursive:
                folders += [each for each in self._by_folder if each.startswith(f"{folder}/")]
            for each in folders:
                for path in self._by_folder.get(each, ()):
                    if is_revision_file(path.rpartition("/")[2]):
                        real_path = self._resolved(path)
                        if real_path in self._entries:
                            oids[real_path] = self._entries[real_path].oid
        return oids

    def _resolved(self, path: str) -> str:
        for _ in range(_LINKS if self._links else 0):
            parts = PurePosixPath(path).parts
            prefixes = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
            link = next((prefix for prefix in prefixes if prefix in self._links), None)
            if link is None:
                break
            target = os.path.normpath(f"{link.rpartition('/')[0] or '.'}/{self._links[link]}")
            path = f"{target}{path[len(link) :]}"
        return path

    def _refuse_submodule(self, folder: str) -> None:
        for parent in (folder, *map(str, PurePosixPath(folder).parents)):
            if parent in self._entries and self._entries[parent].mode == _SUBMODULE:
                raise UsageError(
                    f"{folder} is in the submodule {parent}, whose commits are its own.",
                    hint="A history that is compared has to be in the repository of the monorepo.",
                )
