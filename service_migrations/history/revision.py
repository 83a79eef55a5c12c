"""One revision of a history, as a value that needs no Alembic."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service_migrations.monorepo import Service

if TYPE_CHECKING:
    from alembic.script import Script

__all__ = ["Revision"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision file."""

    revision: str
    down_revision: tuple[str, ...]
    message: str
    path: str
    is_head: bool

    @classmethod
    def of(cls, script: "Script", service: Service) -> "Revision":
        """Return the revision of one of Alembic's scripts."""
        down = script.down_revision
        parents = (down,) if isinstance(down, str) else tuple(down or ())
        return cls(script.revision, parents, script.doc, service.relative(Path(script.path)), script.is_head)
