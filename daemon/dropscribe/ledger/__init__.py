"""Tables, transitions of jobs, history queries, full-text search."""
