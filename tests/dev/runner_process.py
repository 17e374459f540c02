"""`make run` for a clone elsewhere, with the stand-in for the API: runner_process.py CLONE [--under-make]."""

import sys
from pathlib import Path

from app.dev._runner import Runner

if __name__ == "__main__":
    serve = [sys.executable, str(Path(__file__).with_name("standin.py"))]
    sys.exit(Runner(Path(sys.argv[1]), serve=serve, until_orphaned="--under-make" in sys.argv).run())
