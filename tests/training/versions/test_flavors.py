"""Which flavor is preselected, by the workers that run."""

from __future__ import annotations

import django_rq
import pytest
from redis import Redis

from exeml_site.lib import jobs
from exeml_site.worker import SpawningWorker
from tests.factories import cpu_flavor, default_flavor
from training.models import InstanceFlavor
from training.versions.flavors import ON_THE_CPU, WITHOUT_WORKER, FlavorOffer

pytestmark = pytest.mark.django_db


def work_on(*queues: str, has_gpu: bool | None) -> None:
    """A worker of these queues, as it stands in Redis while it lives; None: it has not told what it has."""
    worker = SpawningWorker([django_rq.get_queue(queue) for queue in queues])
    worker.register_birth()
    worker.connection.hdel(worker.key, jobs.HAS_GPU)
    if has_gpu is not None:
        worker.connection.hset(worker.key, jobs.HAS_GPU, int(has_gpu))


def offer() -> tuple[InstanceFlavor | None, str, str]:
    """The preselected flavor, and the remarks on those for GPU and CPU."""
    current = FlavorOffer.current()
    return current.preselected, current.remark(default_flavor()), current.remark(cpu_flavor())


def test_without_redis_the_default_stays() -> None:
    assert offer() == (default_flavor(), "", "")


def test_a_worker_with_a_gpu_serves_the_default(redis: Redis) -> None:
    work_on("gpu", "cpu", has_gpu=True)

    assert offer() == (default_flavor(), "", "")


def test_without_a_gpu_the_flavor_for_cpus_is_preselected(redis: Redis) -> None:
    work_on("gpu", "cpu", has_gpu=False)

    assert offer() == (cpu_flavor(), ON_THE_CPU, "")


def test_one_of_several_workers_with_a_gpu_is_enough(redis: Redis) -> None:
    work_on("gpu", "cpu", has_gpu=False)
    work_on("gpu", has_gpu=True)

    assert offer() == (default_flavor(), "", "")


def test_a_worker_that_has_not_said_what_it_has_raises_no_objection(redis: Redis) -> None:
    work_on("gpu", "cpu", has_gpu=None)

    assert offer() == (default_flavor(), "", "")


def test_a_queue_without_worker_is_named(redis: Redis) -> None:
    work_on("cpu", has_gpu=False)

    assert offer() == (cpu_flavor(), WITHOUT_WORKER, "")


def test_where_nothing_works_the_default_stays(redis: Redis) -> None:
    assert offer() == (default_flavor(), WITHOUT_WORKER, WITHOUT_WORKER)


def test_where_no_other_flavor_is_enabled_the_default_stays(redis: Redis) -> None:
    InstanceFlavor.objects.exclude(pk=default_flavor().pk).update(is_enabled=False)
    work_on("gpu", "cpu", has_gpu=False)

    assert FlavorOffer.current().preselected == default_flavor()


def test_a_worker_tells_at_its_start_what_its_machine_has(redis: Redis) -> None:
    worker = SpawningWorker([django_rq.get_queue("gpu")])

    worker.register_birth()

    import torch

    assert jobs.gpus_of_workers("gpu") == [torch.cuda.is_available()]
    assert jobs.gpus_of_workers("cpu") == []
