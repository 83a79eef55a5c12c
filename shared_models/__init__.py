"""Building blocks that services may use for their models, and the outbox table that they may adopt.

Nothing here knows of any service. A service takes what it wants; a table from here exists in a service's
database only if that service names it in its own ``models.__all__``.
"""

from shared_models.base import Base
from shared_models.mixins import TimestampMixin, UUIDMixin
from shared_models.naming import NAMING_CONVENTION
from shared_models.outbox import OutboxMessage
from shared_models.types import BigIdentity, Code, CountryCode, CurrencyCode, Money, Sku, Slug, pg_enum

__all__ = [
    "NAMING_CONVENTION",
    "Base",
    "BigIdentity",
    "Code",
    "CountryCode",
    "CurrencyCode",
    "Money",
    "OutboxMessage",
    "Sku",
    "Slug",
    "TimestampMixin",
    "UUIDMixin",
    "pg_enum",
]
