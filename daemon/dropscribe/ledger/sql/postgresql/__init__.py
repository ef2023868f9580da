"""The ledger in a PostgreSQL database: connections, errors, lock, what it has beside the tables."""
