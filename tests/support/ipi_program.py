"""A program that speaks the i-PI protocol, and reads its atoms once: ASE's own client.

python ipi_program.py STRUCTURE NOTE (--unixsocket NAME | --port PORT)

With NO_STRESS in its environment it sends zeros as the virial.
"""

import os
import sys

from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketClient
from ase.io import read

structure, note, option, value = sys.argv[1:]
with open(note, "a") as handle:
    print(os.getpid(), file=handle)
place = {"unixsocket": value} if option == "--unixsocket" else {"port": int(value)}
atoms = read(structure)
atoms.calc = EMT()
stress = bool(atoms.pbc.all()) and "NO_STRESS" not in os.environ
SocketClient(**place).run(atoms, use_stress=stress)
