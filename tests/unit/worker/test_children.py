"""What ties a child to its worker."""

from __future__ import annotations

import subprocess
import sys

ORPHAN = """
import os, time
from wesgate.worker.children import dying_with

worker = os.getpid()
tie = dying_with(worker, 9)
if os.fork() == 0:
    while os.getppid() == worker:
        time.sleep(0.001)
    tie()
    print("the step runs")
"""


def test_a_step_whose_worker_died_before_it_was_tied_to_it_does_not_start() -> None:
    # The orphan has the stream too: this waits for its end.
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=True)
    assert done.stdout == ""
