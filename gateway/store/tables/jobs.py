"""Questions that are answered later."""
