"""`dropscribe bench`: the same recordings through stock FunASR, through calibrated FunASR, and through ours."""
