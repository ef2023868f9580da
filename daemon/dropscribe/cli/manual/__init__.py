"""Manual pages and completion scripts of shells, made from the commands and settings."""
