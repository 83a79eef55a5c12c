"""The options of ``context.configure()``: one dict for online and offline, so that the two can't drift apart."""

from typing import TYPE_CHECKING, Any

from alembic.config import Config

from service_migrations.models.metadata import assemble, schema_of
from service_migrations.monorepo import Service

if TYPE_CHECKING:
    from service_migrations.ownership.view import Ownership

__all__ = ["configure_options"]


def configure_options(config: Config) -> dict[str, Any]:
    """Return what ``context.configure()`` gets, whether it is called online or offline.

    Args:
        config: its attributes hold ``service`` and ``version_table``, and ``metadata`` where that is assembled
            already; for a comparison also ``ownership``, what of the database may be seen.

    """
    attributes = config.attributes
    service: Service = attributes["service"]
    ownership: Ownership | None = attributes.get("ownership")
    metadata = ownership.metadata if ownership else attributes.get("metadata") or assemble(service)
    options: dict[str, Any] = {
        "target_metadata": metadata,
        "version_table": attributes["version_table"],
        "version_table_schema": schema_of(metadata),
        "transaction_per_migration": True,
        "compare_type": True,
        "compare_server_default": True,
        "include_schemas": True,
        "service": str(service),
        "on_version_apply": attributes.get("on_version_apply", ()),
    }
    if ownership:
        options |= ownership.options()
        # a comparison writes nothing, not even an empty version table
        options["dont_mutate"] = True
    return options
