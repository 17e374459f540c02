"""Becomes a server: gives up root, asks the kernel to be told of its parent's death, and executes the command.

Run as a script, ``python -I -S _launcher.py PARENT UID GID SIGNAL COMMAND...``, never imported: the usual hook between fork and exec
(``preexec_fn``) is unsafe once threads exist.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(numbers: list[int], command: list[str]) -> None:
    """Replace this process; never returns."""
    parent, uid, gid, at_death = numbers
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of ids, which clears the request.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, at_death, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    os.execv(command[0], command)  # noqa: S606 - our own command line, no shell wanted


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:5]], sys.argv[5:])
