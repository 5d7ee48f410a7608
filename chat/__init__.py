"""What is asked and what comes back, in no vendor's words. Imports nothing of ours."""
