"""Revision files: read without a database, with or without importing them."""
