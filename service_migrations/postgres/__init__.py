"""Real PostgreSQL servers of every version of the matrix, without Docker."""

from service_migrations.postgres.binaries import VERSIONS, Binaries, provide, sources
from service_migrations.postgres.cluster import Cluster
from service_migrations.postgres.throwaway import Server, throwaway

__all__ = ["VERSIONS", "Binaries", "Cluster", "Server", "provide", "sources", "throwaway"]
