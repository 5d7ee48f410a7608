"""Wire languages: parse and render side by side. Pure: no socket, no settings."""
