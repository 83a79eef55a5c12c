"""What pending revisions take from what the database has, read from the server where their text can't show it."""
