"""The Invoke tasks by topic: parse, call, say. No SQL, no Alembic, and nothing heavy is imported at the top."""
