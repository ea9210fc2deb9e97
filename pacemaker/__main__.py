"""`python -m pacemaker` is the command."""

from pacemaker import main

if __name__ == "__main__":
    main()
