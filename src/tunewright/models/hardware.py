"""What this machine can do: cores, memory, GPU, and matrix-product speed, measured in under a second."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from tunewright.models.products import product

# bfloat16 must beat float32 by this much before it is chosen: a smaller gain is within the noise of a short probe.
CLEARLY_FASTER = 1.2
_CPU_SIDE, _GPU_SIDE = 512, 4096  # small enough to finish between two interruptions on a busy machine
_PROBE_SECONDS = 0.2


@dataclass(frozen=True)
class Hardware:
    """The machine as measured. `gflops` holds 10^9 floating-point operations a second of a large matrix product."""

    cores: int
    memory_bytes: int
    gpu_name: str | None
    gpu_bytes: int
    gflops: dict[str, float]
    best_dtype: str

    @property
    def device(self) -> str:
        """Where training goes when the recipe leaves it open."""
        return "cuda" if self.gpu_name else "cpu"

    @property
    def training_bytes(self) -> int:
        """Memory that training can have: the GPU's where there is one."""
        return self.gpu_bytes if self.gpu_name else self.memory_bytes


@cache
def probe() -> Hardware:
    """Measure the machine once per process (about half a second)."""
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if gpu and not torch.cuda.is_bf16_supported():
        del dtypes["bfloat16"]
    gflops = {name: round(_gflops(dtype, device), 1) for name, dtype in dtypes.items()}
    faster = gflops.get("bfloat16", 0.0) > CLEARLY_FASTER * gflops["float32"]
    return Hardware(
        cores=cores(),
        memory_bytes=memory_bytes(),
        gpu_name=torch.cuda.get_device_name(device) if gpu else None,
        gpu_bytes=torch.cuda.get_device_properties(device).total_memory if gpu else 0,
        gflops=gflops,
        best_dtype="bfloat16" if faster else "float32",
    )


def cores() -> int:
    """Cores this process may use: its affinity, cut by a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _first_line("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        allowed = min(allowed, max(1, round(int(quota) / int(period))))
    return allowed


def memory_bytes() -> int:
    """Memory this process may use: the machine's, cut by a container's limit."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _first_line("/sys/fs/cgroup/memory.max")
    return min(physical, int(limit)) if limit.isdigit() else physical


def _first_line(path: str) -> str:
    file = Path(path)
    return file.read_text(encoding="ascii").split("\n")[0] if file.exists() else ""


def _gflops(dtype: torch.dtype, device: torch.device) -> float:
    side = _GPU_SIDE if device.type == "cuda" else _CPU_SIDE
    left = torch.ones(side, side, dtype=dtype, device=device)
    right = torch.ones(side, side, dtype=dtype, device=device)
    _product(left, right)  # the first product pays for starting threads and choosing a kernel
    fastest = float("inf")
    begun = time.perf_counter()
    while time.perf_counter() - begun < _PROBE_SECONDS:
        started = time.perf_counter()
        _product(left, right)
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * side**3 / fastest / 1e9  # the fastest product: others on the machine only slow it down


def _product(left: torch.Tensor, right: torch.Tensor) -> None:
    product(left, right)
    if left.device.type == "cuda":
        torch.cuda.synchronize(left.device)


def serving_threads() -> int:
    """CPU threads for sums beside which a server talks to its clients: all cores but one, or OMP_NUM_THREADS."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else max(1, cores() - 1)


def give_back_memory() -> None:
    """Return what was freed to the system, where the C library would keep it in pieces (glibc; 3 ms for a GiB)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """As many threads as this says for as long as it holds; None: as torch has it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
