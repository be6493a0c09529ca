"""Warnings and errors out of the processes' log files, for the terminal of `make demo` and `make run`."""

import re
from collections.abc import Iterator
from pathlib import Path

MOST_LINES = 10
"""How many lines one look returns; a flood stays in the files."""

_LONGEST_LINE = 240
_WORTH_SHOWING = re.compile(
    r"\[(warning|error|critical|exception)\s*\]"  # structlog's readable lines
    r'|"level": ?"(warning|error|critical|exception)"'  # structlog's JSON lines
    r"|^(WARNING|ERROR|CRITICAL)\b"  # uvicorn, logging's own
    r"|^\S+ \S+ (WARN|WARNING|ERRO|ERROR|CRIT|CRITICAL) "  # supervisord, the simulator
    r"|gave up: "
    r"|^\w+(\.\w+)*(Error|Exception): "
)


class LogWatch:
    """Looks at the log files of one folder, from where they end when it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = {path: path.stat().st_size for path in self._files()}

    def new_lines(self) -> list[str]:
        """Return what is worth showing since the last look, as "program: line"; at most MOST_LINES and a count."""
        found = [f"{path.stem}: {line}" for path in self._files() for line in self._news(path)]
        shown = found[:MOST_LINES]
        if len(found) > MOST_LINES:
            shown.append(f"... and {len(found) - MOST_LINES} more lines like these")
        return shown

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.log"))

    def _news(self, path: Path) -> Iterator[str]:
        start = self._seen.get(path, 0)
        size = path.stat().st_size
        if size < start:  # supervisord has begun a new file
            start = 0
        if size == start:
            return
        with path.open("rb") as file:
            file.seek(start)
            text = file.read(size - start)
        whole = text.rpartition(b"\n")[0]  # a line that is still being written waits for the next look
        self._seen[path] = start + len(whole) + 1 if b"\n" in text else start
        for line in whole.decode("utf-8", errors="replace").splitlines():
            if _WORTH_SHOWING.search(line):
                yield line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
