"""Real PostgreSQL servers of every version of the matrix, without Docker."""

from migrations.postgres.binaries import VERSIONS, Binaries, provide, sources
from migrations.postgres.cluster import Cluster
from migrations.postgres.throwaway import Server, throwaway

__all__ = ["VERSIONS", "Binaries", "Cluster", "Server", "provide", "sources", "throwaway"]
