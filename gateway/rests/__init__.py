"""Rests that several processes share."""
