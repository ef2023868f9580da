"""Stations on other machines: a whole station at each node, the decisions at the head."""
