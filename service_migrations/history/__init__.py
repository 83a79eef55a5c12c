"""Histories: revision files, read with or without importing them, and never with a database."""
