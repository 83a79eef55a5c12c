"""The settings of the session in which a run began: they are restored after each revision."""

from alembic.runtime.migration import MigrationContext

from service_migrations.catalog.search_path import search_path
from service_migrations.connection.server_process import MARK
from service_migrations.connection.single_message import Row, constant
from service_migrations.session.marks import SET_BEFORE
from service_migrations.sql.quoting import VERBATIM, quoted

__all__ = ["SETTINGS", "restoring", "set_service_path"]

SETTINGS = """
    SELECT pg_catalog.current_setting('role') AS role, ARRAY(
        SELECT ARRAY[s.name, s.setting] FROM pg_catalog.pg_settings s
        WHERE s.source OPERATOR(pg_catalog.=) 'session' AND s.context OPERATOR(pg_catalog.<>) 'internal'
          AND s.name OPERATOR(pg_catalog.<>) ALL (
              ARRAY['transaction_isolation', 'transaction_read_only', 'transaction_deferrable'])
    ) AS settings
"""
"""The query of the role and the settings of a session, apart from its startup parameters, which RESET restores, and
from those of a transaction: one row."""


def restoring(row: Row) -> list[str]:
    """Return the statements that restore the settings and the role of a session.

    They drop its temporary tables too, which stand before all others of their names, with the cursors that read them.

    Args:
        row: what ``SETTINGS`` returned.

    """
    statements = ["RESET ALL", "CLOSE ALL", "DISCARD TEMP", SET_BEFORE, "SET SESSION AUTHORIZATION DEFAULT"]
    statements.append("SET ROLE NONE" if row.role == "none" else f"SET ROLE {quoted(row.role)}")
    for name, value in row.settings:
        if name != MARK:
            statements.append(f"SELECT pg_catalog.set_config({constant(name)}, {constant(value)}, false)")
    return statements


def set_service_path(*, ctx: MigrationContext, **_: object) -> None:
    """Set the search path of the service's SQL until the transaction ends, for the hooks of a team."""
    if ctx.connection is not None:
        statement = f"SET LOCAL {search_path(ctx.connection).assignment}"
        ctx.connection.exec_driver_sql(statement, execution_options=VERBATIM)
