"""Jobs, status and history as JSON documents, and the health of a daemon: the same for every front end."""
