"""The connection that migrates: its parameters, its lock, its transactions, and the version table."""
