"""Conversion of token ids to words with timestamps."""
