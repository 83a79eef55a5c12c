"""Checks for problems that would stop an upgrade, and the wait for a server."""
