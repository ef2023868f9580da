"""Process recordings from file to result; independent of ledger and intake."""
