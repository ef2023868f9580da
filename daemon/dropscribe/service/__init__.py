"""The daemon: main loop, admission, jobs, publishing, storage faults, status and systemd notification."""
