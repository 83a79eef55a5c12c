"""The comparison of models and database, and the operations that a revision gets from it."""
