"""`make bench`: one table of speed and size. `python -m bench start tasks` measures some of it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import finding, heads, staging, start, tasks, tes, wes, workflows
from bench.measure import Row, adopt_orphans

PARTS: dict[str, Callable[[Path], list[Row]]] = {
    "start": start.rows,
    "tes": tes.rows,
    "wes": wes.rows,
    "finding": finding.rows,
    "heads": heads.rows,
    "workflows": workflows.rows,
    "tasks": tasks.rows,
    "staging": staging.rows,
}


def _measure(names: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="wesgate-bench-", ignore_cleanup_errors=True) as directory:
        scratch = Path(directory)
        scratch.chmod(0o711)  # under root, Postgres runs as a user of its own and must pass here
        for name in names:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            rows += PARTS[name](scratch)
    return rows


def _table(rows: Sequence[Row]) -> str:
    lines = [("what", "measured", "target", "", "detail")]
    lines += [
        (
            row.name,
            f"{row.measured:.2f} {row.unit}",
            f"{row.better} {row.target:g}",
            "met" if row.met else "MISSED",
            row.detail,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main() -> None:
    """Measure and print."""
    names = sys.argv[1:] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        raise SystemExit(f"bench: there is no {', '.join(unknown)}; there are {', '.join(PARTS)}")
    adopt_orphans()
    rows = _measure(names)
    print(_table(rows))
    if missed := [row.name for row in rows if not row.met]:
        raise SystemExit(f"bench: missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
