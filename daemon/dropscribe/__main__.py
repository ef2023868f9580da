"""`python -m dropscribe` is `dropscribe`."""

from dropscribe.cli.app import main

if __name__ == "__main__":
    main()
