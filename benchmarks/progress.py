"""What is shown while an experiment runs."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")
console = Console(stderr=True)


class Steps:
    """Progress bars of one run; where nobody watches, a line every half minute."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not sys.stderr.isatty(),
            transient=True,
        )

    def __enter__(self) -> "Steps":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def over(self, items: Sequence[Item], description: str) -> Iterator[Item]:
        """The items, counted as they are done."""
        task = self._progress.add_task(description, total=len(items))
        said = time.monotonic()
        for done, item in enumerate(items):
            yield item
            self._progress.update(task, completed=done + 1)
            if self._progress.disable and time.monotonic() - said > 30:
                said = time.monotonic()
                console.print(f"  {description}: {done + 1} of {len(items)}", highlight=False)
        self._progress.remove_task(task)
