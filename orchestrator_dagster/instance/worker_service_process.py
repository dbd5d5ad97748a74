"""The process of a worker service that was started by whoever needed it first."""

import logging
import os
import subprocess
import sys
from contextlib import closing

from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import deserialize_value, serialize_value

from orchestrator_dagster.instance.service_folder import Lock, ServiceFolder

# The first thing it does is to leave the process that started it, which need not wait for it, nor outlive it; the
# second, to say who has the lock.
_START = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
os.pwrite(int(sys.argv[1]), str(os.getpid()).encode(), 0)
from orchestrator_dagster.instance.worker_service_process import main
main()
"""


def start_service(instance: DagsterInstance, folder: ServiceFolder, lock: Lock) -> None:
    """Start the worker service of an instance in a process of its own, and leave it to itself.

    Args:
        instance: the instance, which the process opens for itself.
        folder: where it meets others.
        lock: the lock of the service, which goes over to that process: so nobody starts a second one meanwhile.
    """
    with closing(lock), folder.open_log() as log:
        subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", _START, str(lock.descriptor)],
            pass_fds=[lock.descriptor],
            input=serialize_value(instance.get_ref()).encode(),
            stdout=log,
            stderr=log,
            check=True,
        )


def main() -> None:
    """Be the worker service of the instance that stands on standard input; the argument is the lock's descriptor."""
    lock = Lock(int(sys.argv[1]))
    os.set_inheritable(lock.descriptor, False)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with DagsterInstance.from_ref(deserialize_value(sys.stdin.read(), InstanceRef)) as instance:
        instance.run_launcher.serve(lock=lock)  # type: ignore[attr-defined]
