"""A recording as sound for a browser."""
