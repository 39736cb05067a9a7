"""Makes a process end with its parent, even if the parent dies by SIGKILL (`PR_SET_PDEATHSIG`).

`python parent_death.py PARENT NICENESS COMMAND…` sets this up and then executes COMMAND. A separate program
instead of `preexec_fn`, which is unsafe in a process with threads; it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, when_gone: signal.Signals) -> None:
    """Let the kernel send `when_gone` to this process when `parent` ends. Does nothing outside Linux."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(when_gone), 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the call
        os.kill(os.getpid(), when_gone)


def bound_to_parent(command: list[str], niceness: int = 0) -> list[str]:
    """`command`, wrapped so that it ends with the calling process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(niceness), *command]


def be_nice_to_other_sessions(niceness: int) -> None:
    """Set the niceness of this session's autogroup: Linux ranks sessions by it, not by process."""
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:  # no autogroups
        group.write(str(niceness))


def main(parent: str, niceness: str, *command: str) -> None:
    die_with_parent(int(parent), signal.SIGTERM)
    if int(niceness):
        os.nice(int(niceness))
        be_nice_to_other_sessions(int(niceness))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
