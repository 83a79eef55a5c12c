<%!
    def quoted(value):
        return repr(value).replace("'", '"')

    def one_line(message):
        # on one line, since the history shows the first paragraph, and so that a docstring holds it unchanged
        text = " ".join(line.strip() for line in message.splitlines() if line.strip())
        return text.replace("\\", r"\\").replace('"' * 3, r'\"' * 3)  # Mako takes three quotes for its own
%>\
"""${one_line(message)}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

Read it against docs/writing-migrations.md of service-migrations before you commit it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision: str = "${up_revision}"
down_revision: str | Sequence[str] | None = ${quoted(down_revision)}
branch_labels: str | Sequence[str] | None = ${quoted(branch_labels)}
depends_on: str | Sequence[str] | None = ${quoted(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
