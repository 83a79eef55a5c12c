"""The tables that record a history: the version table, its doubles, and what is asked of a table before it is read."""
