"""What becomes of the values of a column that gets another type."""
