"""Model families: files, loading, text of tokens, recognisers."""
