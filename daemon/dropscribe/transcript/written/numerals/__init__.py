"""Spoken numbers of one language: where they stand in a text, and their form in figures. Pure."""
