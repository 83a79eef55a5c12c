"""Databases and their roles: how they are created, prepared and dropped."""
