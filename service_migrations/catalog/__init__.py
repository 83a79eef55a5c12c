"""The objects and tables of a database, read from pg_catalog."""
