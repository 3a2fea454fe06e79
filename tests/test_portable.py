"""Restricted kernels: which variables, on which machines, and that libraries loaded otherwise are noticed."""

import os
import platform
import subprocess
import sys

import pytest

from triplet_distillation import portable
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.portable import PortabilityError
from triplet_distillation.settings import ExecutionSettings

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the kernels are for x86-64")


def run(code, **variables):
    """Run Python in a process with portable kernels and further variables."""
    environment = portable.portable_environment(os.environ) | variables
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_the_users_variables_for_kernels_and_threads_are_removed():
    users = {"OMP_NUM_THREADS": "7", "OPENBLAS_CORETYPE": "Zen", "NPY_ENABLE_CPU_FEATURES": "X", "HOME": "/home/anna"}
    found = portable.portable_environment(users)
    assert found == {"HOME": "/home/anna"} | portable.VARIABLES
    assert portable.native_environment(found) == {"HOME": "/home/anna"}


@pytest.mark.parametrize(
    ("machine", "flags", "reason"), [("aarch64", "asimd", "is aarch64"), ("x86_64", "sse4_2 avx", "lacks them")]
)
def test_machines_without_the_kernels_are_refused(machine, flags, reason, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("pathlib.Path.read_text", lambda path, encoding: f"flags : fpu {flags}\n")
    with pytest.raises(PortabilityError, match=f"this one {reason}: set execution.portable to false"):
        portable.check_machine()


def test_this_process_was_not_started_with_them():
    with pytest.raises(PortabilityError, match="not started with the variables"):
        setup_device(ExecutionSettings(portable=True))


CHECK = "import torch, numpy; from triplet_distillation import portable; portable.check_kernels()"


def test_libraries_use_them():
    result = run(f"{CHECK}; print(torch.backends.cpu.get_cpu_capability(), portable.is_portable())")
    assert result.stdout == "AVX2 True\n"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ATEN_CPU_CAPABILITY": "default"}, "PyTorch uses its DEFAULT kernels"),
        ({"OPENBLAS_CORETYPE": "Nehalem"}, "OpenBLAS uses its Nehalem kernels"),
        ({"MKL_CBWR": "AVX2"}, "MKL_CBWR is not COMPATIBLE"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_libraries_loaded_otherwise_are_noticed(variables, message):
    result = run(CHECK, **variables)
    assert result.returncode
    assert message in result.stderr


def test_libraries_loaded_before_the_variables_are_set_are_noticed():
    code = (
        "import os, torch; torch.backends.cpu.get_cpu_capability(); os.environ.update(ATEN_CPU_CAPABILITY='avx2'); "
        "from triplet_distillation import portable; portable.check_kernels()"
    )
    result = run(code, ATEN_CPU_CAPABILITY="default")
    assert "PyTorch uses its DEFAULT kernels" in result.stderr


def test_openblas_has_one_thread_however_many_snakemake_gives_it():
    code = (
        f"{CHECK}; from threadpoolctl import threadpool_info; "
        "print({library['num_threads'] for library in threadpool_info() if library['internal_api'] == 'openblas'})"
    )
    assert run(code, OPENBLAS_NUM_THREADS="2").stdout == "{1}\n"


STEP = """
import hashlib, sys, torch
from triplet_distillation.losses import LossContext, Step, arcface
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.settings import ExecutionSettings
setup_device(ExecutionSettings(threads=2, portable=sys.argv[1:] != ["native"]))
torch.manual_seed(0)
network = weights.create({"architecture": "mobilefacenet", "width": 0.25, "embedding_size": 16})
network.train().to(memory_format=torch.channels_last)
loss = arcface.ArcFaceLoss(LossContext(4, 16))
images = torch.randn(8, 3, 112, 112).to(memory_format=torch.channels_last)
loss(network(images), Step(torch.arange(8) % 4, torch.Generator()))[0].backward()
gradients = b"".join(parameter.grad.numpy().tobytes() for parameter in network.parameters())
print(hashlib.sha256(gradients).hexdigest())
"""


def test_a_step_does_not_depend_on_the_users_environment():
    users = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_DYNAMIC": "true", "ATEN_CPU_CAPABILITY": "default"}
    users |= {"PYTHONHASHSEED": "7", "TZ": "Pacific/Chatham", "LC_ALL": "tr_TR.UTF-8", "HOME": "/nonexistent"}
    environments = [portable.portable_environment(os.environ), portable.portable_environment(os.environ | users)]
    results = [
        subprocess.run([sys.executable, "-c", STEP], env=each, capture_output=True, text=True, check=True).stdout
        for each in environments
    ]
    assert results[0] == results[1]
    native = portable.native_environment(os.environ) | {"ATEN_CPU_CAPABILITY": "default"}
    other = subprocess.run([sys.executable, "-c", STEP, "native"], env=native, capture_output=True, text=True)
    assert other.stdout.strip() and other.stdout != results[0]  # other kernels round differently


def test_replaced_environment(monkeypatch):
    monkeypatch.setattr("os.environ", {"OMP_NUM_THREADS": "3", "HOME": "/home/anna"})
    portable.replace_environment({"HOME": "/home/anna", "LANG": "C"})
    assert os.environ == {"HOME": "/home/anna", "LANG": "C"}
