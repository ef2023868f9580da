"""Scheduling of VAD passes, batches and streams; no torch."""
