"""The page of `dropscribe web`: a process of its own, which reads the ledger and asks the daemon for actions."""
