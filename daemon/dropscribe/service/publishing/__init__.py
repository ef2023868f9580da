"""Publish transcripts and partial texts."""
