"""A real SLURM on this machine while a test or a command needs it: own munge, controller, two nodes; no accounting.

``python tests/slurm.py FOLDER COMMAND …`` runs a command with it; the SLURM's files are in FOLDER, which is created.
"""

import contextlib
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
NODES = ("node1", "node2")
# Jobs of the partition "urgent" preempt those of "cpu", which get SIGTERM and are requeued when GraceTime is over.
# linuxproc follows parents instead of control groups, which need systemd or root's rights on /sys.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MinJobAge=300
KillWait=20
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""


def missing_programs() -> list[str]:
    """What must be installed first (Debian: slurm-wlm and munge); daemons are in sbin, which a user's PATH may lack."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


@contextlib.contextmanager
def running_slurm(folder: Path, cpus: int = 4) -> Iterator[dict[str, str]]:
    """Start a SLURM whose files are all in ``folder``; yields the variables that its clients need.

    Its nodes ``node1`` and ``node2`` are this machine, with ``cpus`` CPUs each, whatever it really has.

    Raises:
        RuntimeError: it did not start; the message has what its daemons logged.
    """
    folder.mkdir(parents=True, mode=0o755)
    controller_port, *node_ports = _free_ports(1 + len(NODES))
    host = socket.gethostname()
    nodes = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=100000"
        for name, port in zip(NODES, node_ports)
    ]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, controller_port=controller_port, user=getpass.getuser(), folder=folder, nodes="\n".join(nodes)
        )
    )
    variables = {"SLURM_CONF": str(configuration), "PATH": os.pathsep.join([str(_step_launcher(folder)), _path()])}
    daemons = []
    try:
        daemons.append(_start_munge(folder))
        daemons.append(_start(["slurmctld", "-D", "-i", "-f", configuration], folder / "slurmctld.out", variables))
        for name in NODES:
            # -c would remove the spool folder's content; -N says which of the nodes on this machine it is.
            command = ["slurmd", "-D", "-N", name, "-f", configuration]
            daemons.append(_start(command, folder / f"slurmd.{name}.out", variables))
        _wait_for_nodes(folder, daemons, os.environ | variables)
        yield variables
    finally:
        with contextlib.suppress(subprocess.SubprocessError, FileNotFoundError):
            clients = os.environ | variables
            subprocess.run(["scancel", "--user", getpass.getuser()], env=clients, timeout=10, capture_output=True)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _step_launcher(folder: Path) -> Path:
    """The folder of an srun that finds this SLURM: the executor's jobs remove its variables, also SLURM_CONF."""
    launcher = folder / "bin/srun"
    launcher.parent.mkdir()
    real = shutil.which("srun", path=_path())
    launcher.write_text(f'#!/bin/sh\nSLURM_CONF={shlex.quote(str(folder))}/slurm.conf exec {real} "$@"\n')
    launcher.chmod(0o755)
    return launcher.parent


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _start(command: list, output: Path, variables: dict[str, str]) -> subprocess.Popen:
    with output.open("w") as opened:
        return subprocess.Popen(
            list(map(str, command)), env=os.environ | variables, stdout=opened, stderr=subprocess.STDOUT
        )


def _start_munge(folder: Path) -> subprocess.Popen:
    """A munge with a key of its own, and with its socket in ``folder``."""
    key = folder / "munge.key"
    variables = {"PATH": _path()}
    environment = os.environ | variables
    subprocess.run(["mungekey", "--create", f"--keyfile={key}"], env=environment, check=True, capture_output=True)
    files = {name: folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
    options = [f"--{name}{'' if name == 'socket' else '-file'}={path}" for name, path in files.items()]
    daemon = _start(
        ["munged", "--foreground", "--force", f"--key-file={key}", *options], folder / "munged.out", variables
    )
    deadline = time.monotonic() + 10
    while not files["socket"].exists():
        if time.monotonic() > deadline or daemon.poll() is not None:
            daemon.kill()
            raise RuntimeError(f"munge did not start:\n{_logs(folder)}")
        time.sleep(0.05)
    return daemon


def _wait_for_nodes(folder: Path, daemons: list[subprocess.Popen], environment: dict[str, str]) -> None:
    """Until the controller says that all nodes are idle."""
    deadline = time.monotonic() + 30
    while True:
        command = ["sinfo", "--noheader", "--Node", "--partition", "cpu", "--format", "%T"]
        found = subprocess.run(command, env=environment, capture_output=True, text=True)
        if found.stdout.split() == ["idle"] * len(NODES):
            return
        if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in daemons):
            raise RuntimeError(f"SLURM did not start ({found.stdout}{found.stderr}):\n{_logs(folder)}")
        time.sleep(0.2)


def _logs(folder: Path) -> str:
    """The ends of what the daemons wrote."""
    paths = sorted([*folder.glob("*.log"), *folder.glob("*.out")])
    return "\n".join(f"{path.name}:\n{path.read_text(errors='replace')[-2000:]}" for path in paths)


if __name__ == "__main__":
    with running_slurm(Path(sys.argv[1]).resolve()) as started:
        sys.exit(subprocess.run(sys.argv[2:], env=os.environ | started).returncode)
