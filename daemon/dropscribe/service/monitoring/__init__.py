"""What the daemon says of itself: to the service manager, in its status file."""
