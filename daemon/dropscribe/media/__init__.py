"""Identify, check and decode recordings to 16 kHz mono PCM in child processes."""
