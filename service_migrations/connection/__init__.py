"""The connection that migrates: its parameters, its lock, and what is read over it."""
