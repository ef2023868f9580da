"""Transcription for clients of OpenAI's API."""
