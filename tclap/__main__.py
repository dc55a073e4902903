"""`python -m tclap` is the `tclap` command."""

from tclap.cli import main

if __name__ == "__main__":
    main()
