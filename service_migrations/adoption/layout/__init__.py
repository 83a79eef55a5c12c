"""The files of plain Alembic in a monorepo: where they are, and the options of the ini files."""
