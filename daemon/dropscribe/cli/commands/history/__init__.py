"""Commands on the history of jobs: statistics and export."""
