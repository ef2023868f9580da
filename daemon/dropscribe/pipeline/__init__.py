"""One recording from file to result; knows neither ledger nor intake."""
