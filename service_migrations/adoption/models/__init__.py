"""The models of a service of plain Alembic, found in its files: the module that brings every table of its env.py."""
