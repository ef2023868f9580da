"""Read samples from a recording through a decoder library."""
