"""Models, VAD, batching, recognition; one process per device."""
