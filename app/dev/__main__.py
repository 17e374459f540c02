"""`python -m app.dev`, started by `make run`; HOST and PORT come from the environment."""

import sys

from app.dev._runner import Runner

if __name__ == "__main__":
    sys.exit(Runner(until_orphaned="--under-make" in sys.argv[1:]).run())
