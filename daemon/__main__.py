"""`python -m daemon` is `dropscribe`."""

from daemon.cli.app import main

if __name__ == "__main__":
    main()
