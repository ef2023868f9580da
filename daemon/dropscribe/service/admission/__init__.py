"""Admit complete files as recordings and jobs."""
