"""Locks on files."""

import multiprocessing

from triplet_distillation.files import locked


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
