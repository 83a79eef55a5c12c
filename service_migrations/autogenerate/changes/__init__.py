"""The changes that lead from a database to the models, and back."""
