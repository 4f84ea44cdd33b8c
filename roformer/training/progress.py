"""What the terminal shows of a run."""

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar:
    """A progress bar on a terminal; elsewhere one line per evaluation.

    Args:
        name: of the run.
        start, total: steps done, and in all.
        enabled: whether to show anything.
    """

    def __init__(self, name: str, *, start: int, total: int, enabled: bool) -> None:
        self.console = Console(quiet=not enabled, highlight=False)
        self.name, self.total = name, total
        self._progress = Progress(
            TextColumn(f"[bold]{escape(name)}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"), TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(),
            console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        self._bar = self._progress.add_task(name, total=total, completed=start, numbers="")

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, step: int) -> None:
        self._progress.update(self._bar, completed=step)

    def show(self, line: dict[str, float]) -> None:
        """Shows a line of ``metrics.jsonl``."""
        trained = "loss" in line  # not before the first step, nor where every batch was skipped
        numbers = [f"loss {line['loss']:.3f}", f"{line['tokens_per_second']:,.0f} tokens/s"] if trained else []
        self._progress.update(self._bar, numbers="  ".join(numbers))
        validation = [f"{key} {value:.4f}" for key, value in line.items() if key.startswith("validation")]
        if validation:
            text = "  ".join([self.name, f"step {line['step']}/{self.total}", *numbers, *validation])
            self.console.print(text, soft_wrap=True, markup=False)
