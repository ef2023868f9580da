"""Commands that make a service of an installation, and remove it."""
