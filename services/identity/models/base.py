"""The service's own declarative base."""

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from shared_models import NAMING_CONVENTION

__all__ = ["Base"]


class Base(DeclarativeBase):
    """The base of identity's models."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
