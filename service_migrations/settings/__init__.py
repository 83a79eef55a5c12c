"""Settings, which differ per environment: the DSN, the timeouts, and the origin of each value."""
