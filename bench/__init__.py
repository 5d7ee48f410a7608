"""Pointsman beside its floors: CPU, latency, memory and start, on this machine."""
