"""The difference between a database and what its history makes, and the SQL that fixes it."""
