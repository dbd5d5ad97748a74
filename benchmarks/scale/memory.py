"""How much memory this process has had at most."""

from pathlib import Path


def peak_mib() -> float:
    """Return the most memory that was resident, in MiB.

    `getrusage` does not tell: what it calls the maximum of a process includes its parent's, from before `exec`.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
