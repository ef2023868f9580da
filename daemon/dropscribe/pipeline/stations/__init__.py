"""Stations apart from the daemon: orders, reports, and which station gets a recording; however messages travel."""
