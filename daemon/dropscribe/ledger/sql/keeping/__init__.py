"""Statements on what is kept after a job is done: retention, moved and renamed recordings, purging."""
