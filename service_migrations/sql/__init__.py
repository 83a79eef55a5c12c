"""SQL as text: splitting it, reading its clauses, quoting, and what statements create."""
