"""FunASR's hub: known models, downloads through the hub's client, completeness of local copies."""
