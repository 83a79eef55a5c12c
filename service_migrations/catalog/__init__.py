"""What pg_catalog says of the objects and tables of a database."""
