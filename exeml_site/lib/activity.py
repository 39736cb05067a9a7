"""Whether a process works or hangs, seen from outside by what its threads do.

A process that waits for ever (a deadlock, a lock that nobody releases, SIGSTOP) takes no processor time and
has no thread that wants any. One that computes takes some or waits for its turn, however busy the machine is
and however long a single step lasts; one that waits for a network wakes up for every packet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MIN_CPU_NS = 100_000  # between two looks; an idle worker takes ten times that to wake up once
LOOK_INTERVAL_S = 10
# A read from a storage that does not answer ends after 60 s (botocore), a wait for SQLite's lock after 20 s.
MAX_IDLE_LOOKS = 7
WAKE_UP_S = 20  # an idle process must wake up more often than MAX_IDLE_LOOKS looks take


@dataclass(slots=True)
class ActivityWatch:
    """Counts the looks in a row that found a process idle.

    Looks are counted, not seconds: after a pause of the whole machine there was one look only.
    """

    pid: int
    idle_looks: int = 0
    _cpu_ns: int = -1

    def look(self) -> int:
        """Look at the process, and return how many looks in a row, this one included, found it idle.

        Always 0 where the kernel does not tell (it is not Linux, or the process ended).
        """
        cpu_ns, is_runnable = _threads_of(self.pid)
        is_active = is_runnable or abs(cpu_ns - self._cpu_ns) >= MIN_CPU_NS  # less: a thread ended
        self.idle_looks = 0 if is_active else self.idle_looks + 1
        self._cpu_ns = cpu_ns
        return self.idle_looks


def _threads_of(pid: int) -> tuple[int, bool]:
    """Processor time of the living threads, and whether one runs, waits for its turn or for a disk."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        cpu_ns = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)
        states = [(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads]
    except (OSError, ValueError, IndexError):  # a thread has just ended, or this is not Linux
        return 0, True
    return cpu_ns, not {"R", "D"}.isdisjoint(states)
