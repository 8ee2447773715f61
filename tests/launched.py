"""Run a script in several processes, as a launch on several processes or machines does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from alignsd.base.paths import root

SECONDS = 240  # after this time a launch counts as hanging


def launched(
    script: str, folder: Path, processes: int = 2, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script with ``accelerate launch`` on CPUs and return the finished launch.

    ``--multi_gpu`` chooses torch's launcher, which also starts processes on CPUs. With ``--cpu``,
    accelerate leaves the starting of several processes to MPI.

    Args:
        script: Python code; every process runs the code.
        folder: where the script is written, and the folder in which the processes start.
        processes: number of processes, each with one thread.
        environment: environment variables of the processes.
    """
    file = folder / "script.py"
    file.write_text(script, encoding="utf-8")
    command = [*launcher(processes), str(file)]
    return finished(command, folder, **environment)


def launcher(processes: int) -> list[str]:
    """Return the command line of a launch on this machine, without the script."""
    if processes == 1:
        return [sys.executable]
    return [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
        *("--num_processes", str(processes), "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
    ]


def finished(
    command: list[str], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Return a command's end; a command that hangs is killed with all its processes."""
    paths = [str(root()), os.environ.get("PYTHONPATH", "")]
    variables = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
