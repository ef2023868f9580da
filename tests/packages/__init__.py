"""Scripts that try the packages as a new user would, in a bare Debian."""
