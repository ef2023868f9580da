"""Settled recordings become jobs."""
