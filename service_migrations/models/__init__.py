"""The models of a service: their import and their metadata."""
