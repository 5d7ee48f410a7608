"""App codes, and the hash of the admin token."""
