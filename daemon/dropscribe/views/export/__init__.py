"""Jobs of the history as rows for other programs: CSV, JSON Lines, Parquet."""
