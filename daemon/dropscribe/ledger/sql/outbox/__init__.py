"""Notifications: written with the events, claimed by the sender."""
