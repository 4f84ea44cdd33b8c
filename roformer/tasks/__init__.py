"""Tasks, one file each: what a model is trained to predict. The file's name is the name in ``conf/task/``."""

from roformer.tasks._base import TASKS, Batch, Task

TASKS.discover(__path__, __name__)

__all__ = ["TASKS", "Batch", "Task"]
