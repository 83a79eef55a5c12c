"""Services on disk: a service is a directory with models, and its name decides everything else.

There is no list of services anywhere, so that none can be forgotten in it.
"""

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from migrations.errors import ConfigurationError, UsageError

__all__ = ["ROOT", "Service", "discover", "find", "select"]

ROOT = Path(__file__).resolve().parent.parent
"""The monorepo's top level."""

_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer names: NAMEDATALEN - 1 (documentation, 4.1.1 Identifiers and Key Words)."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """One directory under ``services/``; every other name is derived from its name."""

    name: str
    root: Path = field(default=ROOT, repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """The directory of the service."""
        return self.root / "services" / self.name

    @property
    def models(self) -> str:
        """The dotted name of the module whose ``__all__`` lists the models."""
        return f"services.{self.name}.models"

    @property
    def env_file(self) -> Path:
        """The service's own ``.env``, which may not exist."""
        return self.path / ".env"

    @property
    def env_example(self) -> Path:
        """The example that ``.env`` is made from: the service's own where it has one, else the shared one."""
        own = self.path / ".env.example"
        return own if own.is_file() else self.root / ".env.example"

    @property
    def env_prefix(self) -> str:
        """What a key in the environment begins with when it is meant for this service alone."""
        return f"{self.name.upper()}_"

    @property
    def versions(self) -> Path:
        """The folder of the service's revisions."""
        return self.root / "migrations" / "versions" / self.name

    @property
    def head_file(self) -> Path:
        """The file that names the head of these revisions."""
        return self.versions / "head.txt"

    @property
    def version_table(self) -> str:
        """The name of the table that holds the service's current revision."""
        return f"alembic_version_{self.name}"

    @property
    def ledger_table(self) -> str:
        """The name of the table that says which revision ran when, and by whom."""
        return f"migration_log_{self.name}"

    def relative(self, path: Path) -> str:
        """Return a path as a person at the top level would type it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def discover(root: Path = ROOT) -> tuple[Service, ...]:
    """Return all services below ``services/``, in alphabetical order.

    Raises:
        ConfigurationError: a directory has models, but a name that Python can't import or PostgreSQL would cut.

    """
    folder = root / "services"
    if not folder.is_dir():
        return ()
    return tuple(
        _service(path, root) for path in sorted(folder.iterdir()) if path.name[0] not in "_." and _has_models(path)
    )


def find(name: str, root: Path = ROOT) -> Service:
    """Return the service of that name; ``billing-api`` and ``billing_api`` mean the same.

    The name is checked before anything is imported or opened: it may come from a URL of a chat-ops bot.

    Raises:
        UsageError: there is no such service; the message has the nearest name.

    """
    services = discover(root)
    wanted = name.replace("-", "_")
    for service in services:
        if service.name == wanted:
            return service
    known = [service.name for service in services]
    near = get_close_matches(wanted, known, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known) or 'none, services/ is empty'}."
    raise UsageError(f"--service {name!r}: there is no such service in services/. {hint}")


def select(names: Iterable[str], root: Path = ROOT) -> tuple[Service, ...]:
    """Return the named services, each once, or all of them where no name was given.

    Raises:
        UsageError: one of them doesn't exist, or there are none at all.

    """
    chosen = tuple(dict.fromkeys(find(name, root) for name in names)) or discover(root)
    if not chosen:
        raise UsageError("services/ holds no service. A service is a directory with models.py or models/__init__.py.")
    return chosen


def _has_models(path: Path) -> bool:
    return (path / "models.py").is_file() or (path / "models" / "__init__.py").is_file()


def _service(path: Path, root: Path) -> Service:
    service = Service(path.name, root)
    where = f"services/{path.name}"
    if not _NAME.fullmatch(path.name) or keyword.iskeyword(path.name):
        mend = re.sub(r"\W", "_", path.name.lower())
        mend = mend if _NAME.fullmatch(mend) and not keyword.iskeyword(mend) else f"service_{mend}"
        raise ConfigurationError(f"{where}: Python can't import a service of that name. Rename it to services/{mend}.")
    if not path.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{where}: the link leads out of the repository. Move the service into services/.")
    longest = max(f"{service.version_table}_pkc", f"{service.ledger_table}_pkey", key=len)
    excess = len(longest.encode()) - _IDENTIFIER_BYTES
    if excess > 0:
        raise ConfigurationError(
            f"{where}: the name is {excess} characters too long for its version table in PostgreSQL "
            f"({_IDENTIFIER_BYTES} bytes). Rename it to {len(path.name) - excess} characters or fewer."
        )
    return service
