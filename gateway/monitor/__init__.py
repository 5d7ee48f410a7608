"""What is seen: metrics and logs."""
