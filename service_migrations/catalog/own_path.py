"""The search path of the library's own queries, apart from what needs SQLAlchemy."""

__all__ = ["OWN_PATH"]

OWN_PATH = "pg_catalog, pg_temp"
"""Nothing but pg_catalog. Where pg_temp isn't named, it comes first for tables and types."""
