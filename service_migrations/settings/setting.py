"""A setting: a key with its value, and the origin of the value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.pyproject import FILE
from service_migrations.settings.dsn import Dsn, parse

__all__ = [
    "BARE",
    "DEFAULT",
    "PREFIXED",
    "ROOT_FILE",
    "SERVICE_FILE",
    "Kind",
    "Origin",
    "Setting",
    "given_dsns",
    "other_dsn",
]

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
    def dsn(self) -> Dsn:
        """The DSN that the value is.

        Raises:
            ConfigurationError: it is none.

        """
        try:
            return parse(self.value, self.name)
        except ConfigurationError as error:
            # a new error: the frames of the old one hold the text, and pytest prints the arguments of frames
            raise error.at(FILE if self.origin.is_table else self.origin.path) from None

    @property
    def shown(self) -> str:
        """The value with its password masked."""
        if self.kind == "password":
            return "***" if self.value else ""
        if self.kind == "command":  # its arguments may hold a secret
            program, *arguments = self.value.split(maxsplit=1) or [""]
            return f"{program} …" if arguments else program
        if self.kind == "dsn":
            try:
                return parse(self.value, self.key).masked()
            except MigrationError:
                return "*** (no valid DSN)"
        return self.value


def given_dsns(collected: Mapping[str, tuple[Setting, ...]]) -> list[Setting]:
    """Return the direct DSN and the service's own, of the highest layer that has one of them."""
    candidates = [*collected["DATABASE_DIRECT_DSN"][:1], *collected["DATABASE_DSN"][:1]]
    highest = max((setting.origin.layer for setting in candidates), default=0)
    return [setting for setting in candidates if setting.origin.layer == highest]


def other_dsn(collected: Mapping[str, tuple[Setting, ...]], key: str) -> Dsn | None:
    """Return the DSN of a database that isn't the service's own; None where it isn't set."""
    settings = collected[key]
    return settings[0].dsn if settings else None
