"""JSON documents of jobs, history and status, and the health of a daemon, for every user interface."""
