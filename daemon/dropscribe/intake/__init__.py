"""Watch folders, decide when a file is complete, hand it over."""
