"""A program that ends or hangs is started again; one that waits and wakes up is left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from exeml_site.supervisor.main import _stop_all
from exeml_site.supervisor.processes import Program, SupervisedProcess

pytestmark = pytest.mark.slow

NOTE_PID = "import os, pathlib, threading, time\npathlib.Path(f'pid-{os.getpid()}').touch()\n"
WAKING = f"{NOTE_PID}while True: time.sleep(0.2)"
HANGING = f"{NOTE_PID}threading.Event().wait()"


def program(code: str, name: str = "part") -> Program:
    return Program(name, [sys.executable, "-c", code], look_interval_s=1, max_idle_looks=3)


async def pids(folder: Path, count: int) -> list[int]:
    """The processes that the program has had, once there are so many."""
    async with asyncio.timeout(30):
        while len(files := sorted(folder.glob("pid-*"), key=os.path.getmtime)) < count:
            await asyncio.sleep(0.1)
    return [int(file.name.removeprefix("pid-")) for file in files]


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_program_that_hangs_is_killed_and_started_again(
    is_stopped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGSTOP, as of a debugger or a frozen disk, or a lock that nobody releases."""

    async def run() -> None:
        process = SupervisedProcess(program(WAKING if is_stopped else HANGING), tmp_path)
        process.start()
        first = (await pids(tmp_path, 1))[0]
        if is_stopped:
            os.kill(first, signal.SIGSTOP)
        _, second = await pids(tmp_path, 2)
        assert not lives(first) and lives(second)
        await process.end()

    asyncio.run(run())
    assert "part has done nothing for 3 s and is killed." in capsys.readouterr().out


def test_a_program_that_wakes_up_is_left_alone(tmp_path: Path) -> None:
    async def run() -> None:
        process = SupervisedProcess(program(WAKING), tmp_path)
        process.start()
        await pids(tmp_path, 1)
        await asyncio.sleep(6)
        assert len(await pids(tmp_path, 1)) == 1
        await process.end()

    asyncio.run(run())


def test_every_program_is_stopped_whatever_its_name(tmp_path: Path) -> None:
    names = ("web", "webhooks", "backups", "redis")

    async def run() -> None:
        processes = [SupervisedProcess(program(WAKING, name), tmp_path) for name in names]
        for process in processes:
            process.start()
        started = await pids(tmp_path, len(names))
        await _stop_all(processes, None)
        assert not any(lives(pid) for pid in started)

    asyncio.run(run())
