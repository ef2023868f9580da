"""Speakers: embeddings of windows of speech, their clustering, and the speaker of each token."""
