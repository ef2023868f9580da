"""SenseVoiceSmall by our own inference path: an encoder and a CTC head, from PCM to runs of tokens, in batches."""
