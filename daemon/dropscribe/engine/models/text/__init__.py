"""From token ids to words and their times."""
