"""Commands that change what the daemon does, and those about notifications."""
