"""Runs scripts in forks of one process that has imported torch already: each starts at once, not after seconds.

Reads one JSON object a line: {"start": {"arguments", "cwd", "environment", "stdout", "stderr"}} is answered with the
number of the process, {"wait": number} with its exit status, which is minus the signal where one ended it.
"""

import gc
import json
import os
import runpy
import signal
import sys

import roformer.evaluation.harness
import roformer.training.run  # noqa: F401  # these imports are what takes seconds

_PATIENCE = 100  # seconds until a script that hangs is ended


def become(command):
    """Runs a script in this process as ``python script arguments...`` would; ends by its error or SystemExit."""
    for stream, file in ((1, command["stdout"]), (2, command["stderr"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(command["cwd"])
    for name, value in command["environment"].items():
        os.environ.pop(name, None)
        os.environ.update({name: value} if value is not None else {})
    signal.alarm(_PATIENCE)
    sys.argv[:] = command["arguments"]
    runpy.run_path(sys.argv[0], run_name="__main__")


gc.freeze()  # what is here stays; else each fork would spend seconds on collecting it
for line in sys.stdin:
    request = json.loads(line)
    if "start" in request:
        answer = os.fork()
        if not answer:
            become(request["start"])
            break
    else:
        answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
    print(answer, flush=True)
