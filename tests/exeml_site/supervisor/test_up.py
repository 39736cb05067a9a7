"""The real `python manage.py up`: web, workers, cron and Redis in a temporary data folder."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from rq import Queue
from rq.job import Job, JobStatus

from exeml_site.supervisor.preflight import CannotStart, claim_port
from exeml_site.supervisor.redis_server import choose_endpoint, wait_for_redis
from tests.supervisor_process import ADMIN_PASSWORD, ROOT, Product, free_port

pytestmark = pytest.mark.slow

PARTS = (
    "redis-server",
    "gunicorn",
    "rqworker gpu cpu",
    "rqworker labeling",
    "rqworker imports",
    "rqworker short",
    "rqworker webhooks",
    "rqcron",
)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("up") / "data"
    with Product(folder, EXEML_ADMIN_NAME="", EXEML_ADMIN_PASSWORD="") as running:
        yield running


def processes_over(folder: Path) -> dict[int, str]:
    """Every living process that was given `folder`, whoever its parent is now; its command line.

    Redis writes its title over its environment, and the title names the socket in the folder.
    """
    variable = f"EXEML_DATA={folder}".encode()
    processes = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if str(folder) in line or variable in (process / "environ").read_bytes().split(b"\0"):
                processes[int(process.name)] = line
        except OSError:
            continue
    return processes


def wait_until(is_so: Callable[[], object], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.1)
    return False


def pid_of(product: Product, part: str) -> int | None:
    return next((pid for pid, line in processes_over(product.folder).items() if part in line), None)


def printed_password(product: Product) -> str:
    """Wait for the block with the password, which is printed just after the pages answer."""
    line = re.compile(r"^ *Password +(\S+) +\(shown this once", re.MULTILINE)
    wait_until(lambda: line.search(product.log.read_text()))
    match = line.search(product.log.read_text())
    assert match, product.log.read_text()
    return match[1]


def printed_name(product: Product) -> str:
    printed_password(product)
    match = re.search(r"^ *Name +(\S+)$", product.log.read_text(), re.MULTILINE)
    assert match, product.log.read_text()
    return match[1]


@pytest.fixture(scope="module")
def administrator(product: Product) -> tuple[str, str]:
    """Name and password of the first administrator, who has changed the printed password."""
    name, printed = printed_name(product), printed_password(product)
    assert re.fullmatch(r"operator-\w{6}", name)
    product.sign_in(name, printed)
    assert "Choose a password of your own first" in product.get("/projects/")
    fields = {"old_password": printed, "new_password1": ADMIN_PASSWORD, "new_password2": ADMIN_PASSWORD}
    product.post("/password/", fields)
    return name, ADMIN_PASSWORD


def refused_up(**environment: str) -> str:
    """Output of another `up`, which cannot start."""
    done = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": "",
            "DJANGO_SETTINGS_MODULE": "exeml_site.settings",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1, said
    return said


def connection(product: Product) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(product.folder / "redis" / "redis.sock"))


def wait_for_end(job: Job) -> JobStatus:
    ends = {JobStatus.FINISHED, JobStatus.FAILED}
    wait_until(lambda: job.get_status(refresh=True) in ends, seconds=40)
    return job.get_status(refresh=True)


def test_the_printed_password_signs_in_once_and_the_first_look_is_not_empty(
    product: Product, administrator: tuple[str, str]
) -> None:
    product.sign_in(*administrator)
    assert "handwritten-digits" in product.get("/projects/")


def test_everything_that_was_written_is_for_its_user_alone(product: Product) -> None:
    paths = [product.folder, *product.folder.rglob("*")]
    assert len(paths) > 1000
    open_to_others = [path for path in paths if not path.is_symlink() and path.lstat().st_mode & 0o077]
    assert open_to_others == []


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel groups no sessions")
@pytest.mark.parametrize(
    ("part", "niceness"),
    [("gunicorn", 0), ("rqworker gpu cpu", 3), ("rqworker imports", 6), ("rqworker labeling", 8)],
)
def test_work_gives_way_to_pages_also_where_the_kernel_groups_sessions(
    product: Product, part: str, niceness: int
) -> None:
    assert wait_until(lambda: pid_of(product, part))
    group = Path(f"/proc/{pid_of(product, part)}/autogroup")
    assert wait_until(lambda: group.read_text().strip().endswith(f"nice {niceness}"))


def test_every_part_runs(product: Product) -> None:
    wait_until(lambda: all(pid_of(product, part) for part in PARTS))
    assert [part for part in PARTS if not pid_of(product, part)] == []


def test_operators_see_queues_and_workers(product: Product, administrator: tuple[str, str]) -> None:
    product.sign_in(*administrator)
    page = product.get("/admin/rq/")
    assert all(f">{queue}<" in re.sub(r"\s+", "", page) for queue in ("short", "gpu", "cpu"))


@pytest.mark.parametrize("queue", ["cpu", "short"])
def test_a_worker_runs_jobs_with_django_ready(product: Product, queue: str) -> None:
    # The options are those of django_rq's queues; `check` needs every app.
    job = Queue(queue, connection=connection(product)).enqueue("django.core.management.call_command", "check")
    assert wait_for_end(job) == JobStatus.FINISHED, job.latest_result()


def test_a_job_is_queued_when_its_transaction_is_committed(product: Product) -> None:
    code = (
        "import django_rq\n"
        "from django.db import transaction\n"
        "queue = django_rq.get_queue('short')\n"
        "with transaction.atomic():\n"
        "    queue.enqueue('django.core.management.call_command', 'check', job_id='on-commit')\n"
        "    assert not queue.connection.exists('rq:job:on-commit')\n"
        "try:\n"
        "    with transaction.atomic():\n"
        "        queue.enqueue('django.core.management.call_command', 'check', job_id='rolled-back')\n"
        "        raise KeyError\n"
        "except KeyError:\n"
        "    pass\n"
    )
    environment = {**product.environment, "DJANGO_SETTINGS_MODULE": "exeml_site.settings"}
    subprocess.run([sys.executable, "manage.py", "shell", "-c", code], cwd=ROOT, env=environment, check=True)
    job = Job.fetch("on-commit", connection=connection(product))
    assert wait_for_end(job) == JobStatus.FINISHED
    assert not connection(product).exists("rq:job:rolled-back")


def test_the_machine_reports_what_it_is_and_runs(product: Product) -> None:
    with sqlite3.connect(product.folder / "exeml.sqlite3") as database:
        rows = database.execute("SELECT host, data_folder, parts, cores FROM projects_machine").fetchall()
    database.close()
    ((host, folder, parts, cores),) = rows
    assert (host, folder) == (socket.gethostname(), str(product.folder))
    assert json.loads(parts) == ["web", "training", "labeling", "imports", "short", "cron"] and cores > 0


def test_a_part_that_dies_is_started_again(product: Product) -> None:
    before = pid_of(product, "rqworker short")
    assert before
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: pid_of(product, "rqworker short") not in (None, before))
    assert "short ended (SIGKILL). It starts again in 1 s." in product.log.read_text()


def begin_long_job(product: Product) -> int:
    """Start a long job on the training worker; return the process id that runs it."""
    Queue("cpu", connection=connection(product)).enqueue("time.sleep", 600)
    assert wait_until(lambda: pid_of(product, "main_work_horse"))
    pid = pid_of(product, "main_work_horse")
    assert pid
    time.sleep(1.5)  # the process sets its parent-death signal once Django is loaded
    return pid


def test_no_training_outlives_a_worker_that_was_killed(product: Product) -> None:
    horse = begin_long_job(product)
    worker = pid_of(product, "rqworker gpu cpu")
    assert worker
    os.kill(worker, signal.SIGKILL)
    assert wait_until(lambda: horse not in processes_over(product.folder))
    assert wait_until(lambda: pid_of(product, "rqworker gpu cpu") not in (None, worker))


def test_a_second_up_on_the_same_folder_is_told_so(product: Product) -> None:
    said = refused_up(EXEML_DATA=str(product.folder), PORT=str(free_port()))
    assert f"exeml already runs on the data folder {product.folder}" in said
    assert f"(process {product.process.pid})" in said


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refused_up(EXEML_DATA=str(tmp_path), PORT=str(port))
    assert f"Port {port} is in use by another program." in said


def test_a_port_that_becomes_free_within_seconds_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        threading.Timer(0.5, other.close).start()
        with claim_port("127.0.0.1", port) as listener:
            assert listener.getsockname()[1] == port


@pytest.mark.parametrize("port", ["0", "65536", "eighty"])
def test_an_odd_port_is_named(port: str, tmp_path: Path) -> None:
    assert f"PORT must be a whole number from 1 to 65535, not “{port}”." in refused_up(
        EXEML_DATA=str(tmp_path), PORT=port
    )


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")  # not even root can write below a file
    folder = tmp_path / "file" / "data"
    said = refused_up(EXEML_DATA=str(folder), PORT=str(free_port()))
    assert f"The data folder {folder} cannot be written" in said


def test_a_redis_that_does_not_answer_is_named_without_its_password() -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    with pytest.raises(CannotStart, match=r"No Redis answers at redis://:…@127\.0\.0\.1") as refusal:
        asyncio.run(wait_for_redis(url, timeout_s=0.2))
    assert "secret" not in str(refusal.value)


def test_a_data_folder_with_a_long_name_gets_a_short_socket(tmp_path: Path) -> None:
    place = choose_endpoint(tmp_path / ("long" * 30) / "redis.sock")
    assert place.folder is not None
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert len(place.url) < 100
    place.clear()
    assert not place.folder.exists()


def test_ctrl_c_ends_every_process_and_the_next_start_goes_on(
    product: Product, administrator: tuple[str, str]
) -> None:
    password = printed_password(product)
    left_behind = product.folder / "tmp/left-behind.upload"
    left_behind.write_bytes(b"x")
    os.utime(left_behind, (0, 0))  # the start keeps files of the last seconds: another start may write them
    begin_long_job(product)  # `up` does not wait for it
    product.process.send_signal(signal.SIGINT)
    assert product.process.wait(20) == 0
    assert processes_over(product.folder) == {}
    with pytest.raises(urllib.error.URLError):
        product.get("/sign-in/")

    product.log.write_text("")
    product.__enter__()
    assert wait_until(lambda: "exeml is ready." in product.log.read_text())
    assert password not in product.log.read_text()
    assert "set at the first start" in product.log.read_text()
    assert not left_behind.exists()
    product.sign_in(*administrator)
    assert product.get("/projects/").count("handwritten-digits") >= 1


def test_no_process_outlives_a_supervisor_that_was_killed(product: Product) -> None:
    wait_until(lambda: all(pid_of(product, part) for part in PARTS))
    begin_long_job(product)
    os.kill(product.process.pid, signal.SIGKILL)
    product.process.wait()
    # A worker finishes its chunk of embeddings first, which takes long beside other tests.
    wait_until(lambda: not processes_over(product.folder), 120)
    assert processes_over(product.folder) == {}
