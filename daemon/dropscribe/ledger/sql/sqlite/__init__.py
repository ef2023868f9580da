"""The ledger in a SQLite file: connections, errors, care of the file."""
