<%!
    def quoted(value):
        return repr(value).replace("'", '"')

    def sentence(message):
        # on one line, since the history shows the first paragraph, and so that a docstring holds it unchanged
        text = " ".join(line.strip() for line in message.splitlines() if line.strip())
        text = text.replace("\\", r"\\").replace('"' * 3, r'\"' * 3)  # Mako takes three quotes for its own
        return text if text.endswith(".") else f"{text}."
%>\
"""${sentence(message)}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

Before you commit this file, read it against these rules:

- Locks. ALTER TABLE waits for every reader, and every later reader waits behind it: keep it short.
  Validate separately: ADD CONSTRAINT … NOT VALID here, VALIDATE CONSTRAINT in the next revision.
- Indexes. On a table with rows: CREATE INDEX CONCURRENTLY, inside
  ``with op.get_context().autocommit_block():``, and nothing else in that revision.
- NOT NULL. ADD CHECK (x IS NOT NULL) NOT VALID, VALIDATE, SET NOT NULL, DROP the check.
- Rename. Expand (add, write both), migrate the readers, contract (drop) in a later deploy.
- Data. In batches that commit; never a whole table in one UPDATE, and never through models.
- Enums. A new value can't be used in the transaction that adds it: use it in the next revision. A value that
  goes or moves rewrites every table that has it: decide first what becomes of its rows.
- One statement per op.execute(): asyncpg prepares statements one by one.
- Downgrade. It leaves no type, sequence or index behind: up, down, up must work.
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
