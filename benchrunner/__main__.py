"""`python -m benchrunner` is `benchrunner`."""

from benchrunner.cli.main import main

if __name__ == "__main__":
    main()
