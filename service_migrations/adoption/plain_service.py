"""A service of plain Alembic: what was read of it, and the notes on it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from service_migrations.adoption.code.dsn_source import DsnSource
from service_migrations.adoption.code.modules import Remark
from service_migrations.adoption.code.revision_files import RevisionFiles
from service_migrations.adoption.environment.hooks import Hook
from service_migrations.adoption.models.module import Models

__all__ = ["BLOCKED", "LEFT_ALONE", "Note", "PlainService"]

LEFT_ALONE = "left alone"
BLOCKED = "blocked"
_SHOWN = 3
"""Places with the same text that are named; one history may have a hundred."""


@dataclass(frozen=True, slots=True)
class Note:
    """One note on a service.

    ``kind`` is ``hook`` (the shared env.py needs it), ``driver``, ``to do``, ``blocked`` or ``left alone``.
    """

    kind: str
    text: str
    path: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}: " if self.path and self.line else f"{self.path}: " if self.path else ""
        return f"{self.kind}: {place}{self.text}"


@dataclass(slots=True)
class PlainService:
    """A service of plain Alembic.

    Attributes:
        root: the top level.
        config: the ini file or pyproject.toml; env.py where there is none.
        section: its section there.
        script_location: the folder of env.py.
        name: the name that the service gets.
        path: its directory.
        models: the module of its models; None where none is found.
        version_locations: the folders of its revisions.
        recursive: whether revisions in folders below count.
        revisions: its revisions.
        version_table: the table that holds the current one.
        version_table_schema: the schema of that table, where env.py names one.
        dsn: where its DSN is from.
        driver: the driver that the history needs; None for asyncpg.
        hooks: what the shared env.py has to have of the old one.
        notes: all else.
        adopted: whether the table in pyproject.toml has it already.

    """

    root: Path
    config: Path
    section: str
    script_location: Path
    name: str = ""
    path: Path = field(default_factory=Path)
    models: Models | None = None
    version_locations: tuple[Path, ...] = ()
    recursive: bool = False
    revisions: RevisionFiles = field(default_factory=RevisionFiles)
    version_table: str = "alembic_version"
    version_table_schema: str | None = None
    dsn: DsnSource = field(default_factory=lambda: DsnSource("unknown"))
    driver: str | None = None
    hooks: tuple[Hook, ...] = ()
    notes: list[Note] = field(default_factory=list)
    adopted: bool = False

    @property
    def state(self) -> str:
        """``adopted``, ``new``, ``blocked`` or ``left alone``."""
        if self.adopted:
            return "adopted"
        kinds = {note.kind for note in self.notes}
        return LEFT_ALONE if LEFT_ALONE in kinds else BLOCKED if BLOCKED in kinds else "new"

    def relative(self, path: Path) -> str:
        """Return a path relative to the top level."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def note(self, kind: str, text: str, path: Path | None = None, line: int | None = None) -> None:
        """Add a note."""
        self.notes.append(Note(kind, text, self.relative(path) if path else None, line))

    def note_all(self, kind: str, places: Iterable[Remark]) -> None:
        """Add a note for each place; of places with one text the first ones are named, and the others counted."""
        by_text: dict[str, list[Remark]] = {}
        for place in places:
            by_text.setdefault(place.text, []).append(place)
        for text, alike in by_text.items():
            for place in alike[:_SHOWN]:
                self.note(kind, f"{text}.", place.path, place.line)
            if more := len(alike[_SHOWN:]):
                self.note(kind, f"and {more} more {'place' if more == 1 else 'places'}: {text}.")

    def summary(self) -> str:
        """Return the line of the service, without its name."""
        heads = ", ".join(self.revisions.heads) or ("not known" if self.revisions.computed else "none")
        table = ".".join(part for part in (self.version_table_schema, self.version_table) if part)
        parts = [
            self.relative(self.path),
            f"models {self.models.name} in {self.relative(self.models.source)}" if self.models else "models unknown",
            f"revisions {len(self.revisions.down)} in {', '.join(map(self.relative, self.version_locations))}",
            f"{'head' if len(self.revisions.heads) < 2 else 'heads'} {heads}",  # noqa: PLR2004 - two are several
            f"version table {table}",
            f"DSN from {self.dsn.description}",
        ]
        return "; ".join([*parts, *([f"driver {self.driver}"] if self.driver else [])])

    def as_json(self) -> dict[str, object]:
        """Return the fields for another program."""
        return {
            "service": self.name,
            "state": self.state,
            "path": self.relative(self.path),
            "config": self.relative(self.config),
            "env": self.relative(self.script_location / "env.py"),
            "source": self.relative(self.models.source) if self.models else None,
            "models": self.models.name if self.models else None,
            "versions": [self.relative(path) for path in self.version_locations],
            "recursive_version_locations": self.recursive,
            "revisions": len(self.revisions.down),
            "heads": list(self.revisions.heads),
            "version_table": self.version_table,
            "version_table_schema": self.version_table_schema,
            "dsn": self.dsn.dsn,
            "dsn_key": self.dsn.dsn_key,
            "dsn_from": self.dsn.description,
            "driver": self.driver,
            "notes": [
                {"kind": note.kind, "path": note.path, "line": note.line, "text": note.text} for note in self.notes
            ],
        }
