"""The versions of libraries that a test asks for, where they differ on purpose."""

import sqlalchemy

__all__ = ["SQLALCHEMY"]

SQLALCHEMY = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])
