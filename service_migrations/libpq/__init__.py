"""psycopg's connections with the behaviour of psycopg2, for the histories that were written for it."""
