"""Transcript files on a disk: what stands at their names, and how they get there."""
