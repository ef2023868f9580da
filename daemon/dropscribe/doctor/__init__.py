"""`dropscribe doctor`: checks of the installation, and the support bundle."""
