"""What callers said of answers, and prompts kept with their leave."""
