"""Statements on jobs, from admission to result."""
