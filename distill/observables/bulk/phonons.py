"""Phonons of a crystal by finite displacements (phonopy): dispersion, density of states, energy.

Polar crystals lack the splitting of longitudinal and transverse optical branches at Γ, which
needs Born charges that an interatomic potential does not have.
"""

from __future__ import annotations

import logging
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.core.errors import UserError
from distill.observables.bulk.config import FEWEST_VOLUMES
from distill.observables.bulk.result import (
    DensityOfStates,
    Dispersion,
    FreeEnergy,
    Phonons,
    QuasiHarmonic,
)

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from distill.observables.bulk.config import PhononsConfig

_POINTS_PER_SEGMENT = 40
# Acoustic branches at Γ scatter about zero by this much, THz.
_ROUNDING = 0.05


def phonons(atoms: Atoms, calculator: Calculator, *, config: PhononsConfig) -> Phonons:
    """Phonon dispersion, density of states and free energy of a relaxed crystal.

    Source: Maradudin et al., Theory of Lattice Dynamics in the Harmonic Approximation (1971).

    Parameters
    ----------
    atoms
        Relaxed cubic cell.
    calculator
        ASE calculator, with stress if the cell's relaxation is to be checked.
    config
        Supercell, displacement, mesh, temperatures and volumes.

    Raises
    ------
    UserError
        If phonopy is not installed or the cell is not relaxed.
    """
    _require_relaxed(atoms, calculator, config)
    solid = _force_constants(atoms, calculator, config)
    mesh_frequencies = _run_mesh(solid, config)
    solid.run_total_dos()
    density = solid.get_total_dos_dict()
    lowest = float(mesh_frequencies.min())
    return Phonons(
        dispersion=_dispersion(solid),
        density_of_states=DensityOfStates(
            frequency=density["frequency_points"].tolist(), density=density["total_dos"].tolist()
        ),
        free_energy=[
            FreeEnergy(temperature=t, value=value)
            for t, value in zip(config.temperatures, _free_energies(solid, config), strict=True)
        ],
        lowest_frequency=lowest,
        stable=lowest > -_ROUNDING,
        quasi_harmonic=quasi_harmonic_energy(atoms, calculator, config=config)
        if config.volume_points
        else None,
    )


def quasi_harmonic_energy(
    atoms: Atoms, calculator: Calculator, *, config: PhononsConfig
) -> list[QuasiHarmonic]:
    """Free energy at zero pressure where the volume follows the temperature.

    At each temperature the static energy plus the harmonic free energy of several volumes is
    fitted by a Birch-Murnaghan curve in the volume. Source: Togo et al., Phys. Rev. B 81, 174301
    (2010).

    Parameters
    ----------
    atoms
        Relaxed cubic cell.
    calculator
        Any ASE calculator.
    config
        Supercell, displacement, mesh, temperatures and volumes.

    Returns
    -------
    list of QuasiHarmonic
        For each temperature; with a reason and no numbers where there is no minimum within the
        volumes, or too few of them are mechanically stable.
    """
    from distill.systems.equation_of_state import fit_birch_murnaghan

    volumes, energies = [], []
    # Heat and zero-point motion push outwards: most of the volumes lie on that side.
    strains = np.linspace(-config.volume_strain / 3, config.volume_strain, config.volume_points)
    for strain in strains:
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
        solid = _force_constants(strained, calculator, config)
        if _run_mesh(solid, config).min() < -_ROUNDING:
            continue
        strained.calc = calculator
        static = strained.get_potential_energy() / len(atoms)
        volumes.append(strained.get_volume() / len(atoms))
        energies.append(static + np.array(_free_energies(solid, config)))
    if len(volumes) < FEWEST_VOLUMES:
        reason = (
            f"only {len(volumes)} of {config.volume_points} volumes have real frequencies, "
            f"{FEWEST_VOLUMES} are needed: lower compare.bulk.phonons.volume_strain"
        )
        return [QuasiHarmonic(temperature=t, reason=reason) for t in config.temperatures]
    found = []
    for index, temperature in enumerate(config.temperatures):
        curve = [float(energy[index]) for energy in energies]
        if not 0 < int(np.argmin(curve)) < len(curve) - 1:
            reason = "the free energy has no minimum within the volumes"
            found.append(QuasiHarmonic(temperature=temperature, reason=reason))
            continue
        fit = fit_birch_murnaghan(volumes, curve)
        growth = (fit.volume * len(atoms) / atoms.get_volume()) ** (1 / 3)
        found.append(
            QuasiHarmonic(
                temperature=temperature,
                free_energy=fit.energy,
                volume_per_atom=fit.volume,
                lattice_constant=float(atoms.cell.lengths()[0] * growth),
            )
        )
    return found


def _require_relaxed(atoms: Atoms, calculator: Calculator, config: PhononsConfig) -> None:
    from ase.calculators.calculator import PropertyNotImplementedError

    checked = atoms.copy()
    checked.calc = calculator
    force = float(np.abs(checked.get_forces()).max())
    if force > config.max_force:
        raise UserError(
            f"phonons of {atoms.get_chemical_formula()}: the cell is not relaxed: a force is "
            f"{force:.3g} eV/Å, above {config.max_force:g}; relax the atoms first"
        )
    try:
        stress = float(np.abs(checked.get_stress()).max())
    except PropertyNotImplementedError:
        return
    if stress > config.max_stress:
        raise UserError(
            f"phonons of {atoms.get_chemical_formula()}: the cell is not relaxed: a stress is "
            f"{stress:.3g} eV/Å³, above {config.max_stress:g}; relax the cell first"
        )


def _force_constants(atoms: Atoms, calculator: Calculator, config: PhononsConfig) -> Any:
    from ase import Atoms as Structure

    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError:
        raise UserError(
            "phonons need phonopy: install it with the extra [phonons], or leave out "
            "compare.bulk.phonons"
        ) from None
    # It reports its Rust backend for every object made.
    logging.getLogger("phonopy").setLevel(logging.ERROR)
    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses(),
    )
    with warnings.catch_warnings():
        # Version 4 warns where it finds a smaller primitive cell, which is what is asked for.
        warnings.simplefilter("ignore")
        solid: Any = Phonopy(
            cell, supercell_matrix=np.diag(config.supercell), primitive_matrix="auto"
        )
    solid.generate_displacements(distance=config.displacement)
    forces = []
    for displaced in solid.supercells_with_displacements:
        structure = Structure(displaced.symbols, displaced.positions, cell=displaced.cell, pbc=True)
        structure.calc = calculator
        forces.append(structure.get_forces())
    solid.produce_force_constants(forces=np.array(forces), show_drift=False)
    return solid


def _run_mesh(solid: Any, config: PhononsConfig) -> np.ndarray:
    """Frequencies (THz) at the symmetry-reduced points of a mesh, shape (n_points, n_branches)."""
    solid.run_mesh([config.mesh] * 3, is_gamma_center=True)
    frequencies: np.ndarray = solid.get_mesh_dict()["frequencies"]
    return frequencies


def _free_energies(solid: Any, config: PhononsConfig) -> list[float]:
    """Vibrational free energy, eV/atom, at each temperature.

    Imaginary modes and the three translations at Γ are left out.
    """
    from ase.units import kJ, mol

    solid.run_thermal_properties(temperatures=config.temperatures, cutoff_frequency=_ROUNDING)
    energies = solid.get_thermal_properties_dict()["free_energy"] * kJ / mol
    return [float(energy) for energy in energies / len(solid.primitive)]


def _dispersion(solid: Any) -> Dispersion:
    """Frequencies along the standard path (Setyawan & Curtarolo, Comput. Mater. Sci. 49, 299)."""
    from ase.cell import Cell

    path = Cell(solid.primitive.cell).bandpath(npoints=0)
    points = path.special_points
    labels, corners, segments = [], [], []
    for piece in path.path.split(","):
        names = _split_labels(piece, points)
        for first, last in pairwise(names):
            segments.append(np.linspace(points[first], points[last], _POINTS_PER_SEGMENT))
            corners.append((first, last))
    solid.run_band_structure(segments)
    bands = solid.get_band_structure_dict()
    distances = np.concatenate(bands["distances"])
    labels = [corners[0][0]]
    positions = [float(distances[0])]
    for index, (first, last) in enumerate(corners):
        if index and first != corners[index - 1][1]:
            labels[-1] = f"{labels[-1]}|{first}"
        labels.append(last)
        positions.append(float(bands["distances"][index][-1]))
    return Dispersion(
        labels=labels,
        positions=positions,
        distance=distances.tolist(),
        frequencies=np.concatenate(bands["frequencies"]).tolist(),
    )


def _split_labels(piece: str, points: dict[str, np.ndarray]) -> list[str]:
    """Names in a path such as GXWK, some of which have a digit."""
    names: list[str] = []
    while piece:
        name = next(n for n in sorted(points, key=len, reverse=True) if piece.startswith(n))
        names.append(name)
        piece = piece[len(name) :]
    return names
