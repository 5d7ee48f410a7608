"""How the services are run together."""
