"""Keeping memory avoids page faults, where the C library can do it."""

import subprocess
import sys

import pytest

from triplet_distillation.networks import execution

PROGRAM = """
import resource, sys
import torch
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.settings import ExecutionSettings
setup_device(ExecutionSettings(keep_memory=sys.argv[1] == "True"))
for _ in range(10):
    torch.ones(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(20_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep_memory: bool) -> int:
    command = [sys.executable, "-c", PROGRAM, str(keep_memory)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_kept_memory_is_used_again():
    if execution.platform.libc_ver()[0] != "glibc":
        pytest.skip("the C library is not glibc")
    assert page_faults(True) < page_faults(False) / 2


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(execution.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(execution.ctypes, "CDLL", lambda name: pytest.fail("mallopt was called"))
    assert execution.keep_memory() is False
