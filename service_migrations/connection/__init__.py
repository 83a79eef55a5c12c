"""The connection that migrates: its engine, its parameters, the drivers, poolers, and queries of the library's own."""
