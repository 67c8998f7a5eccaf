"""Calculators that end or interrupt the program that calls them."""

from __future__ import annotations

import os
import signal
import sys
import time

from ase.calculators.emt import EMT


class Exits(EMT):
    """It leaves the program, as if all were well."""

    def calculate(self, *arguments, **options):
        sys.exit(0)


class Quits(EMT):
    """As a script may do it."""

    def calculate(self, *arguments, **options):
        quit()


class Interrupts(EMT):
    """Ctrl-C, and another while the first is being obeyed."""

    def calculate(self, *arguments, **options):
        try:
            _interrupt()
        finally:
            _interrupt()


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5.0)
