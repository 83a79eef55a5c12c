"""The table that records which revision ran when, and by whom."""
