"""The models of a service: importing them, and the metadata that they make."""
