"""What a member may do in an organisation."""

from enum import StrEnum

from shared_models import pg_enum

__all__ = ["ROLE_TYPE", "MembershipRole"]


class MembershipRole(StrEnum):
    """From the most to the least powerful; PostgreSQL sorts them in this order."""

    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    MEMBER = "member"


ROLE_TYPE = pg_enum(MembershipRole, "membership_role")
