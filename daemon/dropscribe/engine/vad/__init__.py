"""FSMN-VAD: network, scores and endpoint detection."""
