"""Punctuation by CT-Transformer, with the marks that FunASR sets."""
