"""The nox sessions: ``migrations`` runs every service's history on each PostgreSQL that the team runs."""

from service_migrations.nox import migrations

__all__ = ["migrations"]
