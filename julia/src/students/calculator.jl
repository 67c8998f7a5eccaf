# The interface of AtomsCalculators.jl, for whatever is a `LinearPotential`.

const Calculators = AtomsCalculators

Calculators.energy_unit(::LinearPotential) = u"eV"
Calculators.length_unit(::LinearPotential) = u"Å"

"""
    evaluated(system, student)

Energy (eV), forces (eV/Å) and virial (eV, minus stress times volume) of an AtomsBase system.
"""
function evaluated(system, student)
    positions = [SVector{3, Float64}(ustrip.(u"Å", r)) for r in AtomsBase.position(system, :)]
    periodic = Tuple(AtomsBase.periodicity(system))
    cell = [SVector{3, Float64}(ustrip.(u"Å", v)) for v in AtomsBase.cell_vectors(system)]
    species = [species_of(student, AtomsBase.atomic_number(system, i)) for i in 1:length(system)]
    neighbours = neighbours_within(cutoff_of(student), positions, cell, periodic)
    energies, forces, virial = energies_and_forces(student, species, neighbours)
    return (energy = sum(energies; init = 0.0), forces = forces, virial = virial)
end

function species_of(student, number)
    found = findfirst(==(Int(number)), student.numbers)
    isnothing(found) || return found
    return error("the student knows the atomic numbers $(student.numbers), not $number")
end

Calculators.@generate_interface function AtomsCalculators.potential_energy(
    system, student::LinearPotential; kwargs...
)
    return evaluated(system, student).energy * u"eV"
end

Calculators.@generate_interface function AtomsCalculators.virial(
    system, student::LinearPotential; kwargs...
)
    return evaluated(system, student).virial * u"eV"
end

function Calculators.forces(system, student::LinearPotential; kwargs...)
    return evaluated(system, student).forces * u"eV/Å"
end

"""
    forces!(forces, system, student; needs_vir = false, buffers = nothing)

Add the forces. Molly asks for the virial, which it calls as LAMMPS does, by the same call.
"""
function Calculators.forces!(
    forces::AbstractVector,
    system,
    student::LinearPotential;
    needs_vir = false,
    buffers = nothing,
    kwargs...,
)
    found = evaluated(system, student)
    forces .+= found.forces * u"eV/Å"
    needs_vir && (buffers.virial .+= found.virial * u"eV")
    return forces
end

function Calculators.calculate(
    ::AtomsCalculators.Forces,
    system,
    student::LinearPotential,
    parameters = nothing,
    state = nothing;
    kwargs...,
)
    return (forces = Calculators.forces(system, student; kwargs...), state = nothing)
end

function Calculators.energy_forces(system, student::LinearPotential; kwargs...)
    found = evaluated(system, student)
    return (energy = found.energy * u"eV", forces = found.forces * u"eV/Å")
end

function Calculators.energy_forces_virial(system, student::LinearPotential; kwargs...)
    found = evaluated(system, student)
    return (
        energy = found.energy * u"eV",
        forces = found.forces * u"eV/Å",
        virial = found.virial * u"eV",
    )
end
