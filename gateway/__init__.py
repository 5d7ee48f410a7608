"""The service that callers reach."""
