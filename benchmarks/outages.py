"""Takes PostgreSQL, Redis, S3 and machines away while people work: what they see, what is lost, what heals.

    python -m benchmarks.outages [--seconds 5 30 120] [--only postgresql redis s3 machines] [--folder DIR]

Two web machines and two worker machines are separate data folders on one machine, with nothing in common
but a PostgreSQL and a Redis as Debian installs them and an S3 server of moto, each behind a proxy. Each
service is refused (nobody listens, open connections are reset), hanging (connections stay open, no byte
passes) and restarted (the server itself is stopped and started again) for each of `--seconds`; each machine
is killed (SIGKILL for all its processes) and started again after 10 s. Meanwhile people upload, label, look
at pages, call a service, train versions and predict batches, and repeat a request until it is acknowledged.

answers    requests during the outage and until all is healed
503        of them, answered with 503
5xx, none  of them, answered with another 5xx, or not at all: no connection, or nothing within 60 s
longest    seconds that somebody waited for an answer
heal       seconds from the end of the outage to the last answer of 5xx or none; `work`: until a worker that
           trains has written a heartbeat, -1 where none has within two minutes
At the end the database and the storage are compared with what was acknowledged: lost, doubled, stuck, failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.calling import Caller
from benchmarks.fault_proxy import FaultProxy, Mode
from benchmarks.kill import connect_to_database, descendants, prepare, print_verdict, settle
from benchmarks.kill_actors import ACTORS, Answer, Client, Notes, actor_threads, photo
from benchmarks.kill_check import check
from benchmarks.shared_servers import KEYS, Postgres, Redis, Server, Storage
from tests.supervisor_process import Product

WORKERS = ["training", "labeling", "imports"]
KILLED_S = 10.0  # a machine that was killed starts again
HEAL_S = 120.0  # waited for at most
ROW = "{:<24}{:>6}{:>9}{:>7}{:>7}{:>7}{:>9}{:>7}{:>7}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, nargs="+", default=[5, 30, 120])
    kinds = ["postgresql", "redis", "s3", "machines"]
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--folder", type=Path, help="keep the data folders here (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-outages-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with Site(folder) as site:
            run(site, options.only, options.seconds)


class Site:
    """Servers, their proxies, and the four machines."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stack = folder, ExitStack()
        self.servers: dict[str, Server] = {
            "postgresql": Postgres(folder),
            "redis": Redis(folder),
            "s3": Storage(),
        }

    def __enter__(self) -> Site:
        try:
            self._start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _start(self) -> None:
        for server in self.servers.values():
            self.stack.enter_context(server)
        self.proxies = {
            name: self.stack.enter_context(FaultProxy(server.port)) for name, server in self.servers.items()
        }
        os.environ.update(KEYS)
        ports = {name: proxy.port for name, proxy in self.proxies.items()}
        environment = self.environment(ports) | {"EXEML_SECRET_KEY": "one key for all machines"}
        parts = {
            "web 0": "web,short,cron",
            "web 1": "web,short",
            "worker 0": ",".join(WORKERS),
            "worker 1": ",".join(WORKERS),
        }
        self.machines = {
            name: Product(self.folder / name.replace(" ", "-"), only, **environment)
            for name, only in parts.items()
        }
        for machine in self.machines.values():
            self.stack.enter_context(machine)

    def environment(self, ports: dict[str, int]) -> dict[str, str]:
        """The settings that name the servers, or proxies before them, at these ports."""
        names = {"postgresql": "DATABASE_URL", "redis": "REDIS_URL", "s3": "STORAGE_URL"}
        return {names[kind]: server.url_at(ports[kind]) for kind, server in self.servers.items()}

    def connect(self) -> None:
        """This process looks at the database and the storage themselves, past the proxies."""
        os.environ.update(self.environment({name: server.port for name, server in self.servers.items()}))
        connect_to_database(self.folder / "observer")


# --- What people do besides the actors of benchmarks.kill ---


def look(notes: Notes, number: int) -> None:
    client = Client(notes)
    while not notes.is_over.is_set():
        client.send(f"/projects/{notes.project}/label-data/", b"", "")
        notes.is_over.wait(0.5)


def caller(address: str, token: str) -> Callable[[Notes, int], None]:
    """An actor that calls the service, as a program does that repeats calls without a pause between them."""

    def call(notes: Notes, number: int) -> None:
        client, content = Client(notes), photo("a call")
        service = Caller(client.port, address, token)
        while not notes.is_over.is_set():
            body, kind = service.body_of(content)
            client.attempt("POST", address, body, {"X-Auth-Token": token, "Content-Type": kind})
            notes.is_over.wait(0.5)

    return call


# --- Outages ---


def run(site: Site, kinds: list[str], lengths: list[float]) -> None:
    web = site.machines["web 0"]
    notes = Notes(web, [site.machines[name].port for name in ("web 0", "web 1")])
    address, token = prepare(web, notes, ["batches"])
    site.connect()
    ACTORS.update({"pages": (look, 2), "calls": (caller(address, token), 2)})
    names = ["uploads", "labels", "trainings", "batches", "pages", "calls"]
    threads = actor_threads(notes, names)
    for thread in threads:
        thread.start()
    time.sleep(10)
    print(ROW.format("outage", "s", "answers", "503", "5xx", "none", "longest", "heal", "work"), flush=True)
    for name, seconds, outage in outages(site, kinds, lengths):
        report(notes, name, seconds, outage)
    notes.is_over.set()
    settle(notes, threads)
    print_verdict(notes, Counter(), check(notes))


Outage = Callable[[float], None]


def outages(site: Site, kinds: list[str], lengths: list[float]) -> Iterator[tuple[str, float, Outage]]:
    for kind in kinds:
        if kind == "machines":
            for name, machine in site.machines.items():
                yield f"{name} killed", KILLED_S, killed(machine)
            continue
        for seconds in lengths:
            yield f"{kind} refused", seconds, proxied(site.proxies[kind], Mode.REFUSE)
            yield f"{kind} hanging", seconds, proxied(site.proxies[kind], Mode.HANG)
            yield f"{kind} restarted", seconds, restarted(site.servers[kind])


def proxied(proxy: FaultProxy, mode: Mode) -> Outage:
    def outage(seconds: float) -> None:
        proxy.set(mode)
        time.sleep(seconds)
        proxy.set(Mode.PASS)

    return outage


def restarted(server: Server) -> Outage:
    def outage(seconds: float) -> None:
        server.stop()
        time.sleep(seconds)
        server.start()

    return outage


def killed(machine: Product) -> Outage:
    def outage(seconds: float) -> None:
        for pid in [machine.process.pid, *(pid for pid, *_ in descendants(machine.process.pid))]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        machine.process.wait()
        time.sleep(seconds)
        machine.__enter__()

    return outage


def report(notes: Notes, name: str, seconds: float, outage: Outage) -> None:
    first = len(notes.answers)
    outage(seconds)
    ended, moment = time.monotonic(), time.time()
    work_s = until_work_goes_on(moment)
    # Healed: every actor had answers and none of them failed for 10 s.
    while time.monotonic() - ended < HEAL_S and not is_healed(notes, time.monotonic() - 10, ended):
        time.sleep(1)
    answers = notes.answers[first:]
    bad = [answer for answer in answers if is_bad(answer)]
    heal_s = max((answer.at - ended for answer in bad), default=0.0)
    statuses = Counter(answer.status for answer in answers)
    other = sum(number for status, number in statuses.items() if status >= 500 and status != 503)
    longest = max((answer.seconds for answer in answers), default=0.0)
    figures = (len(answers), statuses[503], other, statuses[0], f"{longest:.1f}", f"{max(0.0, heal_s):.0f}")
    print(ROW.format(name, f"{seconds:g}", *figures, f"{work_s:.0f}"), flush=True)
    actors = Counter(f"{answer.actor.split()[0]} {answer.status}" for answer in bad if answer.status != 503)
    if actors:
        print(f"    {dict(actors.most_common(6))}", flush=True)


def is_bad(answer: Answer) -> bool:
    return answer.status == 0 or answer.status >= 500


def is_healed(notes: Notes, since: float, ended: float) -> bool:
    """Whether the actors that send requests all the time have had good answers alone since then."""
    recent = [answer for answer in notes.answers[-2000:] if answer.at > since]
    steady = {"uploads 0", "uploads 1", "pages 0", "pages 1", "calls 0", "calls 1"}
    return since > ended and steady <= {each.actor for each in recent} and not any(map(is_bad, recent))


def until_work_goes_on(since: float) -> float:
    """Seconds from the moment `since` until a training's heartbeat is later; -1 if none within HEAL_S."""
    from datetime import UTC, datetime

    from django.db import DatabaseError, connection

    from training.models import TrainingVersion

    moment = datetime.fromtimestamp(since, UTC)
    while time.time() - since < HEAL_S:
        try:
            if TrainingVersion.objects.filter(heartbeat_at__gt=moment).exists():
                return time.time() - since
        except DatabaseError:
            pass
        finally:
            connection.close()
        time.sleep(0.5)
    return -1.0


if __name__ == "__main__":
    main()
