"""Claim jobs, dispatch them, record outcomes."""
