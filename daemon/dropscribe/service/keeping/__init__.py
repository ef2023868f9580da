"""What becomes of recordings, transcripts and records after a job is done."""
