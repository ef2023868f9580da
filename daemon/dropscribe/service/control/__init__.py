"""Control of the running daemon: signals, commands of people, and when the recordings of a folder may be done."""
