"""What differs per environment: the DSN, timeouts, and where each value comes from."""
