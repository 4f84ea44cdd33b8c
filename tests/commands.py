"""Commands of this repository as processes of their own, with their exit status and what they print."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 100  # seconds
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}


@dataclass
class Command:
    """A started process; ``stdout`` and ``stderr`` are files that it writes to."""

    number: int
    stdout: Path
    stderr: Path
    reap: object
    status: int | None = None

    def wait(self):
        """Waits for the end; then ``status`` is that of ``subprocess``."""
        self.status = self.reap()
        return self

    def send(self, number):
        os.kill(self.number, number)

    @property
    def lines(self):
        return self.stdout.read_text().splitlines()

    @property
    def error_lines(self):
        return self.stderr.read_text().splitlines()


class Commands:
    """Starts scripts of the repository, in a fork of a warm interpreter or in one of their own.

    Args:
        folder: where their output goes.
        root: of the repository, or of a copy.
        cwd: the folder that they run in; None means ``root``.
    """

    def __init__(self, folder, root=ROOT, cwd=None):
        self.folder, self.root, self.cwd, self.count = folder, root, cwd or root, 0
        self.server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("command_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.cwd,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(root)},
            text=True,
        )

    def close(self):
        self.server.stdin.close()
        self.server.wait(PATIENCE)

    def start(self, *arguments, cwd=None, **environment):
        """Starts ``python arguments...`` in a fork of the warm interpreter; None takes a variable away."""
        stdout, stderr = self._files()
        command = {"arguments": [str(argument) for argument in arguments], "environment": environment}
        command["cwd"] = str(cwd or self.cwd)
        number = self._ask({"start": {**command, "stdout": str(stdout), "stderr": str(stderr)}})
        return Command(number, stdout, stderr, lambda: self._ask({"wait": number}))

    def start_fresh(self, *arguments, **environment):
        """Starts ``python arguments...`` as a shell does; seconds pass until torch is imported."""
        stdout, stderr = self._files()
        with stdout.open("w") as out, stderr.open("w") as err:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=self.cwd,
                env={**os.environ, **ENVIRONMENT, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

        def reap():
            try:
                return process.wait(PATIENCE)
            finally:
                process.kill()  # which does nothing to one that has ended

        return Command(process.pid, stdout, stderr, reap)

    def run(self, *arguments, cwd=None, **environment):
        return self.start(*arguments, cwd=cwd, **environment).wait()

    def _files(self):
        self.count += 1
        return tuple(self.folder / f"{self.count}.{stream}" for stream in ("out", "err"))

    def _ask(self, message):
        print(json.dumps(message), file=self.server.stdin, flush=True)
        return json.loads(self.server.stdout.readline())


def wait_until(condition):
    """Returns once ``condition()`` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def wait_for_steps(output_dir, *, checkpoints=0):
    """Returns when the run there has logged some steps and saved so many checkpoints."""
    file, saved = output_dir / "metrics.jsonl", output_dir / "checkpoints"
    wait_until(lambda: file.is_file() and file.read_text().count("\n") > 3)
    wait_until(lambda: len(list(saved.glob("step_*"))) >= checkpoints)
