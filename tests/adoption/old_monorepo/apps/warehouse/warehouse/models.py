import enum

from sqlalchemy import Enum, Index, MetaData, String
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Item", "State"]


class Base(DeclarativeBase):
    metadata = MetaData(
        schema="warehouse", naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_name)s"}
    )


class State(enum.Enum):
    new = "new"
    done = "done"


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    code: Mapped[str | None] = mapped_column(CITEXT)
    remark: Mapped[str | None] = mapped_column(String(50))
    state: Mapped[State] = mapped_column(Enum(State, name="items_state", schema="warehouse"))
    __table_args__ = (Index(None, "name"),)
