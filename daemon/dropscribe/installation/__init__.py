"""Install dropscribe as a service of systemd, and remove the service: which files, their content, what is kept."""
