"""Tie a process to the one that started it: it ends when that one is gone, even by SIGKILL.

`python tie.py PARENT NICE COMMAND…` ties itself and then becomes COMMAND. A program of its own rather than
`preexec_fn`, which is not safe in a process with threads; it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, when_gone: signal.Signals) -> None:
    """Have the kernel send `when_gone` to this process when `parent` ends. Linux only; elsewhere nothing."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(when_gone), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        os.kill(os.getpid(), when_gone)


def bound_to_parent(command: list[str], niceness: int = 0) -> list[str]:
    """`command`, started so that it ends with the calling process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(niceness), *command]


def _be_nice_to_other_sessions(niceness: str) -> None:
    """Linux groups processes by session (autogroup); between groups only the group's own niceness counts."""
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:  # not there: no groups
        group.write(niceness)


def main(parent: str, niceness: str, *command: str) -> None:
    die_with_parent(int(parent), signal.SIGTERM)
    if int(niceness):
        os.nice(int(niceness))
        _be_nice_to_other_sessions(niceness)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
