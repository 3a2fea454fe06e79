"""Locks on files, and what is left of file systems that lack them or links; temporary files of killed processes."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time

import pytest

from triplet_distillation import files
from triplet_distillation.files import atomic_write, link_or_copy, locked, symlink_or_copy, write_text

LACKING = [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EINVAL]


def test_only_one_process_holds_a_lock(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with locked(tmp_path / "new/lock"):
        process = context.Process(target=_hold_lock, args=(tmp_path / "new/lock", queue))
        process.start()
        assert queue.get(timeout=60) == "waiting"
        process.join(1)
        assert process.is_alive()
        assert queue.empty()
    assert queue.get(timeout=60) == "held"
    process.join()


def _hold_lock(path, queue):
    queue.put("waiting")
    with locked(path):
        queue.put("held")


@pytest.fixture
def lacking(monkeypatch):
    """Makes a function of a module fail as on a file system that lacks it."""
    monkeypatch.setattr(files, "_WARNED", set())

    def lack(module, name, number):
        def fail(*arguments, **options):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(module, name, fail)

    return lack


@pytest.mark.parametrize("number", LACKING)
def test_file_system_without_locks_is_named_once_and_used(tmp_path, lacking, caplog, number):
    lacking(fcntl, "flock", number)
    for name in ("first", "second"):
        with locked(tmp_path / name / "lock"):
            assert (tmp_path / name / "lock").read_text() == str(os.getpid())
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path / 'first'}: this file system has no locks")
    assert "two jobs may make the same result" in warning


def test_other_errors_of_a_lock_are_not_hidden(tmp_path, lacking):
    lacking(fcntl, "flock", errno.EIO)
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("number", [*LACKING, errno.EXDEV])
def test_file_is_copied_where_it_cannot_be_linked(tmp_path, lacking, caplog, number):
    lacking(os, "link", number)
    (tmp_path / "a").write_text("content")
    for name in ("b", "c"):
        link_or_copy(tmp_path / "a", tmp_path / "new" / name)
        assert (tmp_path / "new" / name).read_text() == "content"
    assert (tmp_path / "new/b").stat().st_ino != (tmp_path / "a").stat().st_ino
    # Another disk is nothing special.
    assert len(caplog.messages) == (number != errno.EXDEV)
    assert all(f"{tmp_path / 'new'}: this file system has no hard links" in each for each in caplog.messages)


def test_file_is_linked_where_it_can(tmp_path):
    (tmp_path / "a").write_text("content")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_ino == (tmp_path / "a").stat().st_ino


@pytest.mark.parametrize("number", LACKING)
def test_shared_result_is_copied_where_there_are_no_symbolic_links(tmp_path, lacking, caplog, number):
    lacking(os, "symlink", number)
    (tmp_path / "shared").write_text("content")
    (tmp_path / "own").write_text("old")
    symlink_or_copy(tmp_path / "shared", tmp_path / "own")
    assert not (tmp_path / "own").is_symlink()
    assert (tmp_path / "own").read_text() == "content"
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path}: this file system has no symbolic links")


def test_temporary_file_of_a_killed_process_is_removed_by_the_next_write(tmp_path):
    target = tmp_path / "weights.safetensors"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_write_for_ever, args=(target,))
    process.start()
    deadline = time.monotonic() + 60
    while not (left := list(tmp_path.glob(".weights.*"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    write_text(target, "while the other lives")
    assert left[0].exists()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    other = tmp_path / left[0].name.replace("weights", "other")
    other.touch()
    write_text(target, "content")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([target.name, other.name])


def _write_for_ever(path):
    with atomic_write(path) as temporary:
        temporary.touch()
        time.sleep(600)


def test_temporary_file_of_another_host_stays_for_a_day(tmp_path):
    fresh, old = tmp_path / ".a.other-host.1.txt", tmp_path / ".a.other-host.2.txt"
    for path in (fresh, old):
        path.touch()
    os.utime(old, (0, time.time() - 25 * 3600))
    write_text(tmp_path / "a.txt", "content")
    assert sorted(path.name for path in tmp_path.iterdir()) == [fresh.name, "a.txt"]


def test_name_with_wildcards_is_taken_literally(tmp_path):
    other = tmp_path / f".ab.{files._host()}.999999999.txt"
    other.touch()
    write_text(tmp_path / "a[b]*.txt", "content")
    assert other.exists()
