"""Disk space, failing storage and file systems that do not answer."""
