import enum

from sqlalchemy import Enum, Index, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Entry", "State"]


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_name)s"})


class State(enum.Enum):
    new = "new"
    done = "done"


class Entry(Base):
    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    remark: Mapped[str | None] = mapped_column(String(50))
    state: Mapped[State] = mapped_column(Enum(State, name="entries_state"))
    __table_args__ = (Index(None, "name"),)
