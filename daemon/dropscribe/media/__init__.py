"""Is this file what it says; decode and normalise to 16 kHz mono in child processes."""
