"""Column types with a meaning, so that a price is the same type in every service that stores one.

To be used as annotations: ``price: Mapped[Money]``, or ``Mapped[Money | None]`` where it may be absent.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from sqlalchemy import CHAR, BigInteger, Enum, Identity, Numeric, String
from sqlalchemy.orm import mapped_column

__all__ = ["BigIdentity", "Code", "CountryCode", "CurrencyCode", "Money", "Sku", "Slug", "pg_enum"]

BigIdentity = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]
"""A key that counts upwards, for tables that are read in the order of their writing."""

Money = Annotated[Decimal, mapped_column(Numeric(12, 2))]
"""An amount in a currency that another column names."""

CurrencyCode = Annotated[str, mapped_column(CHAR(3))]
"""ISO 4217, upper case: EUR."""

CountryCode = Annotated[str, mapped_column(CHAR(2))]
"""ISO 3166-1 alpha-2, upper case: NL."""

Sku = Annotated[str, mapped_column(String(32))]
"""The number on the shelf. Services that don't share tables refer to a product by this value."""

Code = Annotated[str, mapped_column(String(16))]
"""A short code that people type, such as the one of a warehouse."""

Slug = Annotated[str, mapped_column(String(63))]
"""The part of an address that stands for a row; as long as a DNS label may be."""


def pg_enum(members: type[StrEnum], name: str) -> Enum:
    """Make a native PostgreSQL enum that stores the members' values.

    SQLAlchemy's default stores the members' *names*: renaming one in Python would then need a migration.

    Args:
        members: the enum; the order of its members is the sort order in PostgreSQL.
        name: the type's name in the database, unique among all services that share it.

    Returns:
        A column type. Several columns that share the enum share this one object.

    """
    return Enum(
        members,
        name=name,
        values_callable=lambda enum: [member.value for member in enum],
    )
