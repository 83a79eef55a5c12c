"""What an upgrade would run, how dangerous it is, and what is refused."""
