"""The commands that run a history: one run, its attempts, and the state of the database after an early end."""
