"""Evidence: what each revision locks, rewrites and holds up, measured on throw-away servers with rows."""
