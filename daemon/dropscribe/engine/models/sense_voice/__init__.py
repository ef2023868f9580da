"""Inference with the weights of FunASR's SenseVoiceSmall: an encoder with a CTC head, batched."""
