"""``python -m MaskTheFace --path FILE|DIR``: bare faces in, masked faces and a manifest out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from MaskTheFace.commands import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 where no photo could be masked."""
    return run_command("MaskTheFace", lambda: _run(argv), "the same command goes on from here")


def _run(argv: Sequence[str] | None) -> int:
    import tyro

    from MaskTheFace.generate import GenerateConfig, closing_line, generate, plan

    config = tyro.cli(GenerateConfig, args=argv, prog="python -m MaskTheFace")
    if config.dry_run:
        print(plan(config))
        return 0
    rows = generate(config)
    print(closing_line(rows, config))
    return 0 if any(row.path for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
