"""`python -m distill`, and what the command `distill` runs."""

from __future__ import annotations

INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C ends it with exit code 130, its first imports included."""
    try:
        from distill.cli.app import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
