"""A setting: a key with its value, and the origin of the value."""

from dataclasses import dataclass, field
from typing import Literal

from service_migrations.errors import MigrationError
from service_migrations.settings.dsn import parse

__all__ = ["BARE", "DEFAULT", "PREFIXED", "ROOT_FILE", "SERVICE_FILE", "Kind", "Origin", "Setting"]

DEFAULT, ROOT_FILE, SERVICE_FILE, BARE, PREFIXED = range(5)
"""The layers, from the lowest on."""

Kind = Literal["value", "dsn", "password", "command"]


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """The origin of a value; the higher layer wins."""

    layer: int
    place: str

    def __str__(self) -> str:
        return self.place

    @property
    def is_table(self) -> bool:
        """Whether the value is made by a template of pyproject.toml's table."""
        return self.place.startswith("[")

    @property
    def path(self) -> str | None:
        """The file and the line, as ``services/billing/.env:3``; None for a value that isn't from a file."""
        return self.place if self.layer in (ROOT_FILE, SERVICE_FILE) and not self.is_table else None


@dataclass(frozen=True, slots=True)
class Setting:
    """A key with its value and its origin. The value may be a secret; ``shown`` is for output."""

    key: str
    value: str = field(repr=False)
    origin: Origin
    kind: Kind = "value"

    @property
    def name(self) -> str:
        """The key as messages name it, with the variable where the value is from the environment."""
        if self.origin.is_table:
            return self.origin.place
        return self.key if self.origin.path else f"{self.origin}: {self.key}"

    @property
    def shown(self) -> str:
        """The value with its password masked."""
        if self.kind == "password":
            return "***" if self.value else ""
        if self.kind == "command":  # its arguments may hold a secret
            program, _, arguments = self.value.strip().partition(" ")
            return f"{program} …" if arguments else program
        if self.kind == "dsn":
            try:
                return parse(self.value, self.key).masked()
            except MigrationError:
                return "*** (no valid DSN)"
        return self.value
