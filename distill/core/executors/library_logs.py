"""What the libraries of the executors say, in files: the console is the run's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def logs_into(folder: Path | None, name: str, *loggers: str) -> Iterator[None]:
    """Send what some loggers say to `folder/NAME.log`, or nowhere without a folder.

    Parameters
    ----------
    folder
        Made with the first words; others' words are added to those of earlier runs.
    name
        Of the file.
    loggers
        Their names. Those below them that have handlers of their own, as those of distributed do
        when it is imported, have to be named too.
    """
    handler: logging.Handler = logging.NullHandler()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / f"{name}.log", delay=True)
        handler.setFormatter(logging.Formatter(_FORMAT))
    before = []
    for logger in map(logging.getLogger, loggers):
        before.append((logger, logger.handlers[:], logger.level, logger.propagate))
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, handlers, level, propagate in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()
