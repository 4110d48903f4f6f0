"""`python -m tunewright.cli`."""

from tunewright.cli import main

if __name__ == "__main__":
    main()
