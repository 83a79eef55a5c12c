"""One revision of a history, as a value that needs no Alembic."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service_migrations.errors import UsageError
from service_migrations.monorepo import Service

if TYPE_CHECKING:
    from alembic.script import Script

__all__ = ["Revision", "as_tuple", "first_line", "id_problem"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision file.

    Attributes:
        revision: its id.
        down_revision: the ids of those that it follows; a merge has several.
        message: the first line of its docstring.
        path: its file, relative to the top level.
        is_head: whether no other follows it.
        branch_labels: the names that it gives to its branch.
        depends_on: the ids of further revisions that have to be applied before it.

    """

    revision: str
    down_revision: tuple[str, ...]
    message: str
    path: str
    is_head: bool
    branch_labels: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()

    @classmethod
    def of(cls, script: "Script", service: Service) -> "Revision":
        """Return the revision of one of Alembic's scripts; ``depends_on`` may still have branch labels.

        Raises:
            UsageError: its branch labels are something else than texts.

        """
        path, labels = service.relative(Path(script.path)), getattr(script.module, "branch_labels", None)
        try:
            branch_labels = as_tuple(labels)
        except TypeError:
            message = f"its branch_labels are {labels!r}, and not a text, a list of texts or None."
            raise UsageError(message, service=service, path=path, hint="Correct the revision.") from None
        return cls(
            script.revision,
            as_tuple(script.down_revision),
            first_line(script.doc),
            path,
            script.is_head,
            branch_labels,
            as_tuple(script.dependencies or None),  # an empty text is none for Alembic
        )


_RESERVED = ("base", "head", "heads")


def as_tuple(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the ids or labels of an assignment in a revision file, which may be one, several or None.

    Raises:
        TypeError: it is something else.

    """
    return (value,) if isinstance(value, str) else tuple(value or ())


def first_line(text: str) -> str:
    """Return the first line of a docstring; empty where there is none."""
    return next(iter(text.strip().splitlines()), "").strip()


def id_problem(revision: str) -> str | None:
    """Return why an id can't be written into a version table; None where it can.

    Alembic puts it between single quotes, and escapes nothing.
    """
    if "'" in revision:
        return "has a quote, which Alembic can't write into the version table"
    if revision in _RESERVED:
        return "is a word of Alembic's own for a place in the history"
    return None if revision and revision.isprintable() else "has characters that can't be printed"
