"""`python -m tcabench`."""

from tcabench.cli.app import main

if __name__ == "__main__":
    main()
