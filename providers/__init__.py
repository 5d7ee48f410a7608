"""Whom we call: address, key, quirks."""
