"""Settings and profiles that are changed while the service runs."""
