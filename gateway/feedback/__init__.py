"""What callers say of answers, tied to the request; and prompts, kept only where that is on."""
