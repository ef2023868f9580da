"""Tables and statements of the ledger, for the databases in the rooms below."""
