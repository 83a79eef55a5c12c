"""The tables of models: what SQLAlchemy has of one, read and copied without loss."""
