"""The service that each object of a database belongs to."""
