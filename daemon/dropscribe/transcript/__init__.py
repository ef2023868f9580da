"""Frozen result types, renderers (one function per format) and atomic publishing."""
