"""Stations of this machine: decoders and engine over one arena, in the daemon or each in a process of its own."""
