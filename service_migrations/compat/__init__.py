"""Whether the code that runs now survives a migration: its statements, tried before and after each revision."""
