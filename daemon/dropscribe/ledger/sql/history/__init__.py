"""The history of jobs: lists by filters, totals, search in paths."""
