"""Which service each object of a database belongs to."""
