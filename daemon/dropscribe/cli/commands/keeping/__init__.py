"""Commands that keep, copy and remove what is stored."""
