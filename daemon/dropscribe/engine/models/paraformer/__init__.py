"""Inference with the weights of FunASR's Paraformer family: batched, masked, without host synchronisation."""
