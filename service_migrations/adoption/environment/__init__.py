"""An env.py of plain Alembic, read as a syntax tree with the files that it leaves its work to."""
