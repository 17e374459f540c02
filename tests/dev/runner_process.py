"""`make run` for a clone elsewhere: runner_process.py CLONE [--real] [--under-make]. Without --real, a stand-in is the API."""

import sys
from pathlib import Path

from app.dev._api import SERVE
from app.dev._runner import Runner

if __name__ == "__main__":
    standin = (sys.executable, str(Path(__file__).with_name("standin.py")))
    serve = SERVE if "--real" in sys.argv else standin
    sys.exit(Runner(Path(sys.argv[1]), serve=serve, until_orphaned="--under-make" in sys.argv).run())
