"""``python -m MaskTheFace --path FILE|DIR``: bare faces in, masked faces and a manifest out."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 where no photo could be masked."""
    import tyro

    from MaskTheFace.generate import GenerateConfig, closing_line, generate, plan
    from MaskTheFace.jobs import Terminated, sigterm_raises

    try:
        config = tyro.cli(GenerateConfig, args=argv, prog="python -m MaskTheFace")
        if config.dry_run:
            print(plan(config))
            return 0
        with sigterm_raises():
            rows = generate(config)
    except (ValueError, RuntimeError) as error:
        print(f"MaskTheFace: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("MaskTheFace: stopped; the same command goes on from here", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    print(closing_line(rows, config))
    return 0 if any(row.path for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
