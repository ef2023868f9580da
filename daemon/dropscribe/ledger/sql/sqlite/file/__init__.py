"""Care of the database file: lock, checks, repair, upgrade."""
