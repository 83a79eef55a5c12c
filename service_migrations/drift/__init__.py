"""The differences between a database and its replayed history, with the SQL that fixes them."""
