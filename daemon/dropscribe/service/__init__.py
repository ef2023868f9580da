"""The pipeline that joins the rooms, supervision, systemd notification."""
