"""Checks of `dropscribe doctor`: each examines one dependency and reports ok, warning or fail, with a remedy."""
