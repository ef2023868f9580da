"""Inspect container files without decoding them."""
