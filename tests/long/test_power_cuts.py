"""The power fails: what had reached the disk is all that there is. Needs Linux, root and mkfs.ext4."""

import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.tiny_runs import assert_same_run

CAN_MOUNT = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mkfs.ext4")
pytestmark = [pytest.mark.long, pytest.mark.skipif(not CAN_MOUNT, reason="needs root and mkfs.ext4")]

CUTS = 20
LONG = ("trainer.max_steps=60", "trainer.save_steps=5", "trainer.eval_steps=10", "trainer.logging_steps=3")


@contextmanager
def mounted(image, place):
    """Mounts the ext4 file system in a file while the block lasts."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_runs_survive_power_cuts(commands, tiny_runs, tmp_path, record):
    """Catches what counts as saved and is still in the memory of the machine: checkpoints of zeros, lost metrics."""
    whole = tiny_runs.train(tmp_path / "whole", *LONG)
    blank, rng = tmp_path / "blank.img", random.Random(0)
    subprocess.run(["truncate", "-s", "64M", blank], check=True)
    subprocess.run(["mkfs.ext4", "-q", blank], check=True)
    cuts = after_the_end = 0
    while cuts < CUTS:
        disk, image = tmp_path / "disk", shutil.copy(blank, tmp_path / "disk.img")
        folders = (f"paths.output_dir={disk / 'run'}", f"paths.cache_dir={disk / 'cache'}")
        command = ("train.py", *tiny_runs.overrides(*LONG, *folders))
        with mounted(image, disk):
            started = commands.start(*command)
            time.sleep(rng.uniform(0.5, 5))
            images = [shutil.copy(image, tmp_path / "during.img")]  # what has reached the disk by now
            assert started.wait().status == 0, started.stderr.read_text()
            images.append(shutil.copy(image, tmp_path / "after.img"))  # at once after "finished"
        for survivor in images:
            with mounted(survivor, disk):
                again = commands.run(*command)
                assert again.status == 0, again.stderr.read_text()
                assert_same_run(disk / "run", whole)
            cuts += 1
        assert "already finished" in again.stdout.read_text()
        after_the_end += 1
    record("power cut, ext4", cuts=cuts, of_these_after_the_end=after_the_end, lost=0)
