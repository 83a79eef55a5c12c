"""What would stop an upgrade, found before it starts."""
