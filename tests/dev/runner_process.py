"""`make run` for a clone elsewhere: runner_process.py CLONE [--real] [--under-make].

Without --real, stand-ins are the API and the worker. With --under-make the process is make, which waits for a child that is the runner.
"""

import os
import sys
from pathlib import Path

from app.dev._program import SERVE, WORK
from app.dev._runner import Runner

if __name__ == "__main__":
    if "--under-make" in sys.argv and (runner := os.fork()):
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(runner, 0)[1]))
    standin = (sys.executable, "-I", "-S", str(Path(__file__).with_name("standin.py")))
    serve, work = (SERVE, WORK) if "--real" in sys.argv else ((*standin, "api"), (*standin, "worker"))
    sys.exit(
        Runner(Path(sys.argv[1]), serve=serve, work=work, until_orphaned="--under-make" in sys.argv).run()
    )
