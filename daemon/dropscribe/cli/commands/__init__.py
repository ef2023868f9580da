"""One file per command; heavy imports only inside functions."""
