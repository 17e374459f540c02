"""``python -m tests.program``: the program whose text is in the variable PROGRAM, as ``python -c`` would run it."""

import os

if __name__ == "__main__":
    exec(compile(os.environ.pop("PROGRAM"), "<program>", "exec"), {"__name__": "__main__"})
