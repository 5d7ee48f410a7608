"""What each attempt cost."""
