"""Child processes: started again when they end or hang, logged with their names, stopped with all their
children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exeml_site.lib import activity
from exeml_site.lib.activity import ActivityWatch
from exeml_site.lib.parent_death import bound_to_parent
from exeml_site.supervisor.console import print_line

MIN_RESTART_DELAY_S, MAX_RESTART_DELAY_S = 1.0, 30.0
STABLE_AFTER_S = 60.0  # after this time the restart delay is reset
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Program:
    """A program to run. After `stop_timeout_s` a program that does not stop is killed.

    One that `max_idle_looks` looks found idle hangs and is killed too: every program wakes up more often.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    niceness: int = 0
    stop_timeout_s: float = 10.0
    descriptors: tuple[int, ...] = ()
    look_interval_s: float = activity.LOOK_INTERVAL_S
    max_idle_looks: int = activity.MAX_IDLE_LOOKS


class SupervisedProcess:
    """Runs one program, and restarts it whenever it ends or hangs, until `end` or `kill`.

    A program that replaces another finds that one's process id in REPLACED_PID.
    """

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.child: asyncio.subprocess.Process | None = None
        self.ending = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self._run_until_stopped())

    async def end(self) -> None:
        """Send SIGTERM, kill after `stop_timeout_s`, and leave no child process behind."""
        self.ending.set()
        if self.task is None:
            return
        self._signal(signal.SIGTERM)
        await asyncio.wait([self.task], timeout=self.program.stop_timeout_s)
        if not self.task.done():
            print_line(
                "up", f"{self.program.name} did not end in {self.program.stop_timeout_s:g} s and is killed."
            )
            self.kill()
            await self.task

    def kill(self) -> None:
        self.ending.set()
        if self.child is not None:
            kill_session(self.child.pid)

    async def _run_until_stopped(self) -> None:
        delay = MIN_RESTART_DELAY_S
        while not self.ending.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self.ending.is_set():
                return
            if time.monotonic() - began > STABLE_AFTER_S:
                delay = MIN_RESTART_DELAY_S
            print_line(
                "up", f"{self.program.name} ended ({_exit_reason(code)}). It starts again in {delay:g} s."
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), delay)
            delay = min(delay * 2, MAX_RESTART_DELAY_S)

    async def _run_once(self) -> int:
        """Run the program until it ends and return its exit code, negative for a signal."""
        replaced = {"REPLACED_PID": str(self.child.pid)} if self.child else {}
        self.child = child = await asyncio.create_subprocess_exec(
            *bound_to_parent(list(self.program.command), self.program.niceness),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self.program.environment, **replaced},
            cwd=self.folder,
            pass_fds=self.program.descriptors,
            start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops all in order
            limit=MAX_LINE_BYTES,
        )
        if self.ending.is_set():
            self._signal(signal.SIGTERM)
        reading = asyncio.create_task(self._show_lines(child))
        watching = asyncio.create_task(self._kill_when_hung(child.pid))
        code = await child.wait()
        watching.cancel()
        kill_session(child.pid)
        await asyncio.wait([reading], timeout=1)
        reading.cancel()
        return code

    async def _kill_when_hung(self, pid: int) -> None:
        watch, program = ActivityWatch(pid), self.program
        while watch.look() < program.max_idle_looks:
            await asyncio.sleep(program.look_interval_s)
        seconds = program.max_idle_looks * program.look_interval_s
        print_line("up", f"{program.name} has done nothing for {seconds:g} s and is killed.")
        kill_session(pid)

    async def _show_lines(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        while True:
            try:
                line = await child.stdout.readline()
            except ValueError:
                continue  # a line over the limit is dropped
            if not line:
                return
            print_line(self.program.name, line.decode(errors="replace").rstrip())

    def _signal(self, number: signal.Signals) -> None:
        if self.child is not None and self.child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(number)


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def kill_session(leader: int) -> None:
    """Send SIGKILL to all processes of the session of `leader`; RQ work horses have their own groups."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for pid in _pids_of_session(leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _pids_of_session(leader: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                yield int(folder.name)
