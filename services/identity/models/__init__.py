"""Who may do what: organisations, the people in them, and the invitations that are still open."""

from services.identity.models.base import Base
from services.identity.models.invitations import Invitation
from services.identity.models.memberships import Membership
from services.identity.models.organisations import Organisation
from services.identity.models.roles import MembershipRole
from services.identity.models.users import User

__all__ = ["Base", "Invitation", "Membership", "MembershipRole", "Organisation", "User"]
