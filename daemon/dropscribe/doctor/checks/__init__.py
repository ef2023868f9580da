"""The doctor's checks: each looks at one link of the chain and says ok, warning or fail, with the remedy."""
