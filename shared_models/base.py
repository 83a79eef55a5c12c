"""A declarative base that services may share.

Sharing it doesn't share tables: which of them a service owns is decided by its ``models.__all__``. A service
that wants class names or a metadata of its own declares its own base with the same naming convention instead.
"""

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from shared_models.naming import NAMING_CONVENTION

__all__ = ["Base"]


class Base(DeclarativeBase):
    """The base of all models that have no reason for one of their own."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
