"""One revision file as it is at one commit or in the working tree, and what of it may not change."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service_migrations.history.files.faults import likely_revision
from service_migrations.history.files.fingerprint import body_fingerprint, checksum, fingerprint
from service_migrations.history.files.static import certain_revision
from service_migrations.history.revision import Revision

__all__ = ["RevisionFile", "by_key"]


@dataclass(frozen=True, slots=True)
class RevisionFile:
    """A revision file, read without running it.

    Attributes:
        path: relative to the top level.
        source: its text.
        header: its place in the history; None where it can't be read without running it.

    """

    path: str
    source: bytes
    header: Revision | None

    @classmethod
    def of(cls, path: str, source: bytes) -> "RevisionFile":
        """Read a file."""
        return cls(path, source, certain_revision(source, path) or likely_revision(source, path))

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.rpartition("/")[2]

    @property
    def key(self) -> str:
        """The id of the revision, or else the name of the file."""
        return self.header.revision if self.header else self.name

    @property
    def parents(self) -> tuple[str, ...]:
        """The names of what is applied before it: ids and, in ``depends_on``, branch labels."""
        return (*self.header.down_revision, *self.header.depends_on) if self.header else ()

    def equals(self, other: "RevisionFile") -> bool:
        """Whether both files do the same, at the same place in the history."""
        return _are_equal(self.source, other.source, fingerprint)

    def does_as(self, other: "RevisionFile") -> bool:
        """Whether both files do the same, wherever they are in the history."""
        return _are_equal(self.source, other.source, body_fingerprint)


def _are_equal(source: bytes, other: bytes, fingerprint: Callable[[bytes], str]) -> bool:
    if checksum(source) == checksum(other):
        return True
    try:
        return fingerprint(source) == fingerprint(other)
    except (SyntaxError, ValueError):  # of another version of Python, or no Python at all
        return False


def by_key(files: Iterable[RevisionFile]) -> dict[str, RevisionFile]:
    """Return files by id; of two with one id, which Alembic refuses, the first."""
    by_id: dict[str, RevisionFile] = {}
    for file in files:
        by_id.setdefault(file.key, file)
    return by_id
