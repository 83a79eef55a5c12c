"""The Invoke tasks by topic: parse, call, say. No SQL, no Alembic, and nothing heavy is imported at the top."""

import sys

# Invoke switches it off, so that each run of a task would compile SQLAlchemy and Alembic again, for about a second
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
