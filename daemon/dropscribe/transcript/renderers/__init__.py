"""Renderers of transcript files: one pure function per format."""
