"""A pytest plugin: servers, databases at head, and the tests that every service's history has to pass.

``pytest --pyargs service_migrations.testing`` runs these tests for each service of the monorepo around the working
directory. The fixtures ``postgres_server`` and ``migrated_database`` are for a team's own tests.
"""
