"""The plan of a service, as a value that needs neither Alembic nor SQLAlchemy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service_migrations.plan.review import PlanFinding, PlannedRevision

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an upgrade or a downgrade of one service would do.

    Attributes:
        service: its name.
        target: its database, without the password.
        current: the revisions of the database.
        revisions: those that would be run or reverted, in this order.
        findings: about the plan as a whole.
        down: whether it is of a downgrade.

    """

    service: str
    target: str
    current: tuple[str, ...]
    revisions: "tuple[PlannedRevision, ...]"
    findings: "tuple[PlanFinding, ...]"
    down: bool = False
