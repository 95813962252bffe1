import signal
import subprocess
import sys

import pytest

from instructlab_pipeline.errors import WorkerError
from instructlab_pipeline.processes import run_worker
from servers.process import awaited, gone


def test_a_worker_that_ends_well_leaves_its_output_in_the_log(tmp_path):
    run_worker([sys.executable, "-c", "print('done')"], log=tmp_path / "log", doing="training")
    assert (tmp_path / "log").read_text() == "done\n"


def test_a_failed_worker_is_an_error_with_its_last_lines(tmp_path):
    program = "import sys; [print('line', i) for i in range(40)]; sys.exit('loss is NaN')"
    with pytest.raises(WorkerError, match=r"training failed \(exit code 1\)") as caught:
        run_worker([sys.executable, "-c", program], log=tmp_path / "log", doing="training")
    assert "loss is NaN" in caught.value.message
    assert "line 39" in caught.value.message
    assert "line 3\n" not in caught.value.message


def test_a_killed_worker_names_the_signal(tmp_path):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(WorkerError, match="killed by SIGKILL"):
        run_worker([sys.executable, "-c", program], log=tmp_path / "log", doing="training")


def test_an_interruption_ends_the_worker_and_its_children(tmp_path):
    program = (
        "import subprocess, sys, os, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)\n"
    )

    def interrupt():
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_worker([sys.executable, "-c", program], log=tmp_path / "log", on_tick=interrupt, doing="training")
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_worker_dies_when_its_parent_is_killed_without_a_chance_to_say_so(tmp_path):
    worker = (
        "import os, time; from instructlab_pipeline.processes import die_with_parent; die_with_parent();"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    parent = (
        "import sys; from pathlib import Path; from instructlab_pipeline.processes import run_worker;"
        f"run_worker([sys.executable, '-c', {worker!r}], log=Path({str(tmp_path / 'log')!r}), doing='x')"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    pid = int(awaited(tmp_path / "pid"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gone(pid)
