"""The same bits on every x86-64 CPU with AVX2.

PyTorch, oneDNN, MKL, NumPy, OpenBLAS and OpenCV choose their kernels by the CPU. Other kernels round
differently, and a training run magnifies the last bit. The variables here restrict all of
them to kernels that every such CPU runs. The libraries read them when they are loaded, so a
process must be started with them.
"""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from threadpoolctl import threadpool_info, threadpool_limits

MARKER = "TRIPLET_DISTILLATION_PORTABLE"
"""Set in processes whose kernels are restricted."""
VARIABLES = {
    MARKER: "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENCV_CPU_DISABLE": "AVX512-SKX",
    "OPENCV_IPP": "disabled",
    # As many threads as the configuration says, however many cores there are.
    "MKL_DYNAMIC": "FALSE",
    "OMP_DYNAMIC": "FALSE",
}
PREFIXES = ("ATEN_", "DNNL_", "GOMP_", "KMP_", "MKL_", "NPY_", "OMP_", "ONEDNN_", "OPENBLAS_")
"""Of variables with which a user can change what the libraries compute, or in how many threads."""


class PortabilityError(RuntimeError):
    """The kernels of this machine or process are not those that every CPU runs."""


def check_machine() -> None:
    """Make sure that this machine's CPU can run the kernels.

    Raises:
        PortabilityError: it is not an x86-64 CPU with AVX2 and FMA.
    """
    cpuinfo = Path("/proc/cpuinfo")
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    if not is_x86 or (cpuinfo.exists() and not {"avx2", "fma"} <= set(cpuinfo.read_text(encoding="utf-8").split())):
        processor = "lacks them" if is_x86 else f"is {platform.machine()}"
        raise PortabilityError(
            f"execution.portable needs an x86-64 CPU with AVX2 and FMA, but this one {processor}: set "
            "execution.portable to false; the results are then reproducible on this kind of machine, and differ from "
            "published ones by what another rounding does to a training run"
        )


def portable_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` with :data:`VARIABLES`, and without others that change kernels or numbers of threads."""
    return {name: value for name, value in environment.items() if not name.startswith(PREFIXES)} | VARIABLES


def native_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without :data:`VARIABLES`: the fastest kernels of this CPU."""
    return {name: value for name, value in environment.items() if name not in VARIABLES}


def replace_environment(environment: Mapping[str, str]) -> None:
    """Replace this process's variables, for its children and for the libraries that it has not loaded yet."""
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def is_portable() -> bool:
    """Whether this process was started with restricted kernels."""
    return MARKER in os.environ


def check_kernels(required: bool = False) -> None:
    """In a process that was started with restricted kernels, make sure that the loaded libraries use them.

    PyTorch and OpenBLAS can be asked. Of the others, only the variables are compared. OpenBLAS is set to one
    thread, because Snakemake gives it as many as there are cores for the job.

    Raises:
        PortabilityError: a variable was changed, or a library was loaded before it was set; or the process was
            started without them, although they are ``required``.
    """
    if not is_portable() and not required:
        return
    wrong = [f"{name} is not {value}" for name, value in VARIABLES.items() if os.environ.get(name) != value]
    if not is_portable():
        wrong = ["this process was not started with the variables"]
    torch = sys.modules.get("torch")
    if torch and (capability := torch.backends.cpu.get_cpu_capability()) != "AVX2":
        wrong.append(f"PyTorch uses its {capability} kernels")
    for library in threadpool_info():
        if library["internal_api"] == "openblas" and library["architecture"] != VARIABLES["OPENBLAS_CORETYPE"]:
            wrong.append(f"OpenBLAS uses its {library['architecture']} kernels")
    if wrong:
        raise PortabilityError(
            f"execution.portable is true, but {', '.join(wrong)}: start the process with the variables of "
            "triplet_distillation.portable, as the workflow does, or set execution.portable to false"
        )
    threadpool_limits(1, user_api="blas")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for a library that is loaded later
