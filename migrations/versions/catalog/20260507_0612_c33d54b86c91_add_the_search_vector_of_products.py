"""Add the search vector of products.

Revision ID: c33d54b86c91
Revises: 9e34f17aa49c
Create Date: 2026-05-07 06:12:00+00:00

A stored generated column rewrites the table under an exclusive lock. Products are counted in tens of
thousands, so that is a matter of seconds; a large table would get an ordinary column, a trigger and a
backfill instead.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "c33d54b86c91"
down_revision: str | Sequence[str] | None = "9e34f17aa49c"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "products",
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed(
                "setweight(to_tsvector('english'::regconfig, name::text), 'A'::\"char\") || "
                "setweight(to_tsvector('english'::regconfig, COALESCE(description, ''::text)), "
                "'B'::\"char\")",
                persisted=True,
            ),
            nullable=False,
        ),
    )


def downgrade() -> None:
    op.drop_column("products", "search")
