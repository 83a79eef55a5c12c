"""What is wrong with one table of the models, while the others can be compared.

Where a metadata collects faults, each is kept by the name of its table; elsewhere the first one is raised.
"""

from collections.abc import Mapping

from sqlalchemy import MetaData, Table

from service_migrations.errors import ConfigurationError

__all__ = ["add_fault", "collect_faults", "faults_of"]

_FAULTS = "migrations.faults"


def collect_faults(metadata: MetaData) -> None:
    """Let a metadata keep the faults of its tables."""
    metadata.info[_FAULTS] = {}


def faults_of(metadata: MetaData) -> Mapping[tuple[str | None, str], ConfigurationError]:
    """Return the faults of a metadata, by schema and name of the table; a schema may be None."""
    faults: Mapping[tuple[str | None, str], ConfigurationError] = metadata.info.get(_FAULTS, {})
    return faults


def add_fault(metadata: MetaData, table: Table, error: ConfigurationError) -> None:
    """Keep the fault of a table, of which the first counts.

    Raises:
        ConfigurationError: this one, where the metadata collects none.

    """
    if _FAULTS not in metadata.info:
        raise error
    metadata.info[_FAULTS].setdefault((table.schema, table.name), error)
