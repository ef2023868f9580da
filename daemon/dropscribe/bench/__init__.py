"""`dropscribe bench`: compare stock FunASR, calibrated FunASR and dropscribe on the same recordings."""
