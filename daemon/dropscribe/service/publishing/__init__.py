"""Write transcripts and partial transcripts beside recordings."""
