"""The session in which Alembic runs: its lock, the transactions of revisions, and the version table."""
