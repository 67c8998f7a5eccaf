"""What the bulk observable returns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distill.core.results import Interval, Record, Result


class EquationOfState(Record):
    """An energy-volume curve with its Birch-Murnaghan fit.

    The intervals say what the form of the fit and its range of volumes are worth, and hold the
    scatter of the energies at `confidence`; see `distill.systems.equation_of_state.spread`.

    Attributes
    ----------
    scale
        Lengths at the minimum over those of the given cell, or of `cell` where it is there.
    lattice_constant, lattice_constant_interval
        First edge of the cell at the minimum, Å.
    lattice_constant_b, lattice_constant_c
        The other edges of a cell that is not cubic, Å.
    volume, volume_interval, volume_per_atom
        Å³.
    energy, energy_interval, energy_per_atom
        eV.
    bulk_modulus, bulk_modulus_interval
        eV/Å³; in GPa as well.
    bulk_modulus_derivative, bulk_modulus_derivative_interval
        By the pressure.
    rms_residual
        Of the fit, eV/atom.
    volumes, energies
        The curve, Å³ and eV.
    confidence
        Of the part of the intervals that is the scatter of the energies.
    cell, scaled_positions
        Relaxed shape of a cell that is not cubic: Å, shape (3, 3), and fractions, shape (N, 3).
    """

    scale: float
    lattice_constant: float
    lattice_constant_interval: Interval
    volume: float
    volume_interval: Interval
    volume_per_atom: float
    energy: float
    energy_interval: Interval
    energy_per_atom: float
    bulk_modulus: float
    bulk_modulus_interval: Interval
    bulk_modulus_GPa: float
    bulk_modulus_GPa_interval: Interval
    bulk_modulus_derivative: float
    bulk_modulus_derivative_interval: Interval
    rms_residual: float
    volumes: list[float]
    energies: list[float]
    confidence: float
    lattice_constant_b: float | None = None
    lattice_constant_c: float | None = None
    cell: list[list[float]] | None = None
    scaled_positions: list[list[float]] | None = None


class ElasticConstant(Record):
    """An elastic constant and the interval of its linear fit, GPa."""

    value: float
    interval: Interval


class ElasticConstants(Record):
    """Elastic constants of a crystal.

    Attributes
    ----------
    constants
        By name: C11, C12 and C44, and of other than cubic cells C22, C33, C13, C23, C55 and C66.
    bulk_modulus, shear_modulus
        Averages over directions, GPa.
    stable
        Whether the crystal resists every small strain.
    confidence
        Of the intervals.
    """

    constants: dict[str, ElasticConstant]
    bulk_modulus: float
    shear_modulus: float
    stable: bool
    confidence: float


class LatticeConstant(Record):
    """Mean lattice constant at a temperature (K) and pressure.

    Attributes
    ----------
    status, reason
        `complete`, or `blown_up` and why; then there is no number.
    lattice_constant, interval
        Of the given cell, Å.
    mean_temperature
        Kinetic, K.
    force_calls
        Of the dynamics.
    confidence
        Of the interval.
    """

    temperature: float
    status: Literal["complete", "blown_up"]
    reason: str = ""
    lattice_constant: float | None = None
    interval: Interval | None = None
    mean_temperature: float | None = None
    force_calls: int
    confidence: float | None = None


class Dispersion(Record):
    """Phonon frequencies along the standard path.

    Attributes
    ----------
    labels, positions
        Of the corners of the path: names, and distances from its start in 1/Å.
    distance
        Of each point from the start, 1/Å, n_points numbers.
    frequencies
        THz, shape (n_points, n_branches); imaginary ones are negative.
    """

    labels: list[str]
    positions: list[float]
    distance: list[float]
    frequencies: list[list[float]]


class DensityOfStates(Record):
    """Phonon frequencies (THz) and the density there, states per THz and primitive cell."""

    frequency: list[float]
    density: list[float]


class FreeEnergy(Record):
    """Vibrational free energy at a temperature (K), zero-point energy included, eV/atom."""

    temperature: float
    value: float


class QuasiHarmonic(Record):
    """A crystal at zero pressure and a temperature (K) by the quasi-harmonic approximation.

    Attributes
    ----------
    free_energy
        Static energy included, eV/atom.
    volume_per_atom, lattice_constant
        Å³, and the first edge of the cell in Å.
    reason
        Why there are no numbers; empty otherwise.
    """

    temperature: float
    free_energy: float | None = None
    volume_per_atom: float | None = None
    lattice_constant: float | None = None
    reason: str = ""


class Phonons(Record):
    """Phonons of a crystal.

    Attributes
    ----------
    dispersion, density_of_states
        On the standard path, and on a mesh.
    free_energy
        At each temperature, of the vibrations alone.
    lowest_frequency
        On the mesh, THz.
    stable
        Whether no frequency is imaginary.
    quasi_harmonic
        At each temperature; None where it was not asked for.
    """

    dispersion: Dispersion
    density_of_states: DensityOfStates
    free_energy: list[FreeEnergy]
    lowest_frequency: float
    stable: bool
    quasi_harmonic: list[QuasiHarmonic] | None


class Quantity(Record):
    """A number of a model with its unit, and its interval where it has one."""

    title: str
    unit: str
    value: float
    interval: Interval | None = None


class BulkProperties(Record):
    """One model; None, or an empty list, for what was not asked for."""

    equation_of_state: EquationOfState
    elastic_constants: ElasticConstants | None
    thermal_expansion: list[LatticeConstant]
    phonons: Phonons | None

    def quantities(self) -> dict[str, Quantity]:
        """Every single number that models are compared by."""
        curve = self.equation_of_state
        found = {
            "lattice_constant": Quantity(
                title="lattice constant",
                unit="Å",
                value=curve.lattice_constant,
                interval=curve.lattice_constant_interval,
            )
        }
        for axis, length in (("b", curve.lattice_constant_b), ("c", curve.lattice_constant_c)):
            if length is not None:
                title = f"lattice constant {axis}"
                found[f"lattice_constant_{axis}"] = Quantity(title=title, unit="Å", value=length)
        found["bulk_modulus_GPa"] = Quantity(
            title="bulk modulus",
            unit="GPa",
            value=curve.bulk_modulus_GPa,
            interval=curve.bulk_modulus_GPa_interval,
        )
        found["energy_per_atom"] = Quantity(
            title="energy", unit="eV/atom", value=curve.energy_per_atom
        )
        if self.elastic_constants:
            for name, constant in self.elastic_constants.constants.items():
                found[name] = Quantity(
                    title=name, unit="GPa", value=constant.value, interval=constant.interval
                )
        for point in self.thermal_expansion:
            if point.lattice_constant is not None:
                found[f"lattice_constant_{point.temperature:g}K"] = Quantity(
                    title=f"lattice constant at {point.temperature:g} K",
                    unit="Å",
                    value=point.lattice_constant,
                    interval=point.interval,
                )
        return found | (_of_phonons(self.phonons) if self.phonons else {})


def _of_phonons(phonons: Phonons) -> dict[str, Quantity]:
    found = {
        f"free_energy_{energy.temperature:g}K": Quantity(
            title=f"vibrational free energy at {energy.temperature:g} K",
            unit="eV/atom",
            value=energy.value,
        )
        for energy in phonons.free_energy
    }
    for point in phonons.quasi_harmonic or []:
        at = f"at {point.temperature:g} K, quasi-harmonic"
        key = f"quasi_harmonic_{point.temperature:g}K"
        if point.free_energy is not None:
            found[f"free_energy_{key}"] = Quantity(
                title=f"free energy {at}", unit="eV/atom", value=point.free_energy
            )
        if point.lattice_constant is not None:
            found[f"lattice_constant_{key}"] = Quantity(
                title=f"lattice constant {at}", unit="Å", value=point.lattice_constant
            )
    return found


class PropertyDifference(Record):
    """A difference in the property's unit; no interval where one of both numbers has none."""

    value: float
    interval: Interval | None


class BulkDifference(Record):
    """One model minus another, whose name is `to`, by the key of the property."""

    to: str
    properties: dict[str, PropertyDifference]


class Merit(Record):
    """A model's deviation from the reference, percent.

    Attributes
    ----------
    merit
        Mean over the groups; None where nothing is shared.
    groups
        By name.
    """

    merit: float | None
    groups: dict[str, float]


class FiguresOfMerit(Record):
    """Deviations of the models, by name, from what `reference` names."""

    reference: str
    models: dict[str, Merit]


class BulkResult(Result):
    """Bulk properties of a crystal.

    Attributes
    ----------
    formula
        Of the cell.
    confidence
        Of the intervals.
    models
        By name.
    differences
        Of each model to the teacher, or to the first, by its name.
    merit
        Figures of merit.
    given
        Measured numbers that the config gives, Å and GPa.
    """

    formula: str
    confidence: float
    models: dict[str, BulkProperties]
    differences: dict[str, BulkDifference]
    merit: FiguresOfMerit
    given: dict[str, float] = Field(default_factory=dict)

    def table(self) -> dict[str, dict[str, Quantity]]:
        """By title with unit, then model."""
        found: dict[str, dict[str, Quantity]] = {}
        for model, properties in self.models.items():
            for quantity in properties.quantities().values():
                title = f"{quantity.title} [{quantity.unit}]"
                found.setdefault(title, {})[model] = quantity
        return found
