"""What it cost: a row for each attempt, and the prices behind it."""
