"""Commands that measure transcripts and machines, and compare them."""
