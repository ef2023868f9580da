"""Full-text search in the segments of transcripts."""
