"""
    Geometry(; positions, cells, periodic, numbers, offsets)

Structures as arrays, one after the other.

# Arguments
- `positions`: atoms × 3, Å
- `cells`: structures × 3 × 3, Å, rows are the cell vectors
- `periodic`: structures × 3
- `numbers`: atomic numbers, one for each atom
- `offsets`: atoms of structure s are `offsets[s] + 1 : offsets[s + 1]`
"""
struct Geometry
    positions::Matrix{Float64}
    cells::Array{Float64, 3}
    periodic::Matrix{Bool}
    numbers::Vector{Int}
    offsets::Vector{Int}
end

function Geometry(; positions, cells, periodic, numbers, offsets)
    return Geometry(
        Matrix{Float64}(positions),
        Array{Float64, 3}(cells),
        Matrix{Bool}(periodic),
        Vector{Int}(numbers),
        Vector{Int}(offsets),
    )
end

"""
    Labels(; energies, forces, virials, weights)

Labels of the structures of a `Geometry`.

# Arguments
- `energies`: eV, one for each structure
- `forces`: atoms × 3, eV/Å
- `virials`: structures × 3 × 3, eV
- `weights`: structures × 3, of energy, forces and virial; a label of weight 0 is not used
"""
struct Labels
    energies::Vector{Float64}
    forces::Matrix{Float64}
    virials::Array{Float64, 3}
    weights::Matrix{Float64}
end

function Labels(; energies, forces, virials, weights)
    return Labels(
        Vector{Float64}(energies),
        Matrix{Float64}(forces),
        Array{Float64, 3}(virials),
        Matrix{Float64}(weights),
    )
end

Base.length(geometry::Geometry) = length(geometry.offsets) - 1

"""
    atoms_of(geometry, s)

Indices of the atoms of structure `s`.
"""
atoms_of(geometry, s) = (geometry.offsets[s] + 1):geometry.offsets[s + 1]

"""
    systems(geometry, labels = nothing)

The structures as a vector of AtomsBase systems of one concrete type, with their labels if given.
"""
function systems(geometry, labels = nothing)
    return identity.([system(geometry, labels, s) for s in 1:length(geometry)])
end

function system(geometry, labels, s)
    atoms = identity.([atom(geometry, labels, s, i) for i in atoms_of(geometry, s)])
    vectors = ntuple(k -> SVector{3}(geometry.cells[s, k, :]) * u"Å", 3)
    return AtomsBase.FlexibleSystem(
        atoms;
        cell_vectors = vectors,
        periodicity = ntuple(k -> geometry.periodic[s, k], 3),
        system_labels(labels, s)...,
    )
end

function atom(geometry, labels, s, i)
    species = AtomsBase.ChemicalSpecies(geometry.numbers[i])
    position = SVector{3}(geometry.positions[i, :]) * u"Å"
    return AtomsBase.Atom(species, position; atom_labels(labels, s, i)...)
end

system_labels(::Nothing, s) = (;)

function system_labels(labels::Labels, s)
    found = Dict{Symbol, Any}()
    labels.weights[s, 1] > 0 && (found[:energy] = labels.energies[s])
    labels.weights[s, 3] > 0 && (found[:virial] = labels.virials[s, :, :])
    return found
end

atom_labels(::Nothing, s, i) = (;)

function atom_labels(labels::Labels, s, i)
    labels.weights[s, 2] > 0 || return (;)
    return (; forces = SVector{3}(labels.forces[i, :]))
end
