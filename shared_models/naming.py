"""One rule for the names of indexes and constraints.

A constraint without a name gets one from PostgreSQL, and a migration that must drop it later can only guess.
With this convention every name follows from table and columns, on every server alike.
"""

__all__ = ["NAMING_CONVENTION"]

NAMING_CONVENTION: dict[str, str] = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
