"""Our own inference path over the weights of FunASR's Paraformer family: batched, masked, free of host syncs."""
