"""
    evaluate(model; mended = false, arrays...)

Energies, forces and virials of structures.

# Arguments
- `mended`: use `site_gradient` below instead of ACEpotentials' own; the numbers are the same
- `arrays`: the arguments of `Geometry`

# Returns
A dictionary with `energies` (eV), `forces` (atoms × 3, eV/Å) and `virials`
(structures × 3 × 3, eV, minus stress times volume).
"""
function evaluate(model; mended = false, geometry...)
    structures = Geometry(; geometry...)
    values = zeros(length(structures))
    forces = zeros(size(structures.positions, 1), 3)
    virials = zeros(length(structures), 3, 3)
    calculate = calculation(mended)
    for (s, structure) in enumerate(systems(structures))
        energy, atom_forces, virial = calculate(structure, model)
        values[s] = energy
        virials[s, :, :] .= virial
        for (i, force) in zip(atoms_of(structures, s), atom_forces)
            forces[i, :] .= force
        end
    end
    return Dict{String, Any}("energies" => values, "forces" => forces, "virials" => virials)
end

"""
    energies(model; arrays...)

Energies of structures, eV, without the work that forces take.
"""
function energies(model; geometry...)
    return [
        Float64(ustrip(AtomsCalculators.potential_energy(structure, model))) for
        structure in systems(Geometry(; geometry...))
    ]
end

"""
    time_calls(model; repeats, mended = false, arrays...)

Seconds of each of `repeats` evaluations of energy, forces and virial of the first structure,
after one that is not counted.
"""
function time_calls(model; repeats, mended = false, geometry...)
    structure = first(systems(Geometry(; geometry...)))
    calculate = calculation(mended)
    calculate(structure, model)
    return [@elapsed(calculate(structure, model)) for _ in 1:Int(repeats)]
end

calculation(mended) = mended ? mended_energy_forces_virial : released_energy_forces_virial

"""
    released_energy_forces_virial(system, model)

Energy (eV), forces (eV/Å) and virial (eV) by ACEpotentials as released.
"""
function released_energy_forces_virial(system, model)
    result = AtomsCalculators.energy_forces_virial(system, model)
    forces = [ustrip.(force) for force in result.forces]
    return ustrip(result.energy), forces, Matrix(ustrip.(result.virial))
end

"""
    mended_energy_forces_virial(system, model)

The same as `released_energy_forces_virial`, with a type-stable gradient, on one thread.

ACEpotentials 0.10.1 assembles the gradient in loops over arrays whose type the compiler does not
know, which takes most of its time; here they lie behind a function call.
"""
function mended_energy_forces_virial(system, model)
    neighbours = M.PairList(system, M.cutoff_radius(model))
    energy = 0.0
    forces = zeros(SVector{3, Float64}, length(system))
    virial = zeros(SMatrix{3, 3, Float64})
    for i in 1:length(system)
        js, rs, zs, z = M.get_neighbours(system, model, neighbours, i)
        site, gradient = site_gradient(model.model, model.ps, model.st, rs, zs, z)
        energy += site
        virial += add_site!(forces, i, js, rs, gradient)
    end
    return energy, forces, Matrix(virial)
end

"""
    site_gradient(m, ps, st, rs, zs, z)

Energy of the site of species `z` with neighbours `zs` at `rs`, and its gradient with respect to
`rs`: the chain rule through radial functions, harmonics, products and coupling.
"""
function site_gradient(m, ps, st, rs, zs, z)
    if isempty(rs)
        return m.Vref.E0[z], zeros(SVector{3, Float64}, 0)
    end
    species = M._z2i(m.rbasis, z)
    distances = norm.(rs)
    R, dR = M.evaluate_ed_batched(m.rbasis, distances, z, zs, ps.rbasis, st.rbasis)
    Y, dY = M.P4ML.evaluate_ed(m.ybasis, rs)
    A = zeros(length(m.tensor.abasis))
    EquivariantTensors.evaluate!(A, m.tensor.abasis, (R, Y))
    B = EquivariantTensors.evaluate(m.tensor, R, Y, NamedTuple(), NamedTuple())[1]
    weights = ps.WB[:, species]
    ∂R, ∂Y = EquivariantTensors.pullback([weights], m.tensor, R, Y, A)
    P, dP = M.evaluate_ed_batched(m.pairbasis, distances, z, zs, ps.pairbasis, st.pairbasis)
    pair_weights = ps.Wpair[:, species]
    energy = m.Vref.E0[z] + dot(B, weights) + dot(vec(sum(P; dims = 1)), pair_weights)
    return energy, neighbour_gradients(∂R, dR, ∂Y, dY, dP * pair_weights, rs, distances)
end

function neighbour_gradients(∂R, dR, ∂Y, dY, pair_slopes, rs, distances)
    slopes = copy(pair_slopes)
    for t in axes(∂R, 2), j in axes(∂R, 1)
        slopes[j] += ∂R[j, t] * dR[j, t]
    end
    gradient = [slopes[j] / distances[j] * rs[j] for j in eachindex(rs)]
    for t in axes(∂Y, 2), j in axes(∂Y, 1)
        gradient[j] += ∂Y[j, t] * dY[j, t]
    end
    return gradient
end
