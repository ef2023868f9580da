"""The station of this machine: decoders and engine processes over one arena."""
