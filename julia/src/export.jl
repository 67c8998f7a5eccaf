"""
    export_arrays(model)

Everything that evaluates a fitted model, read from ACEpotentials' own objects without change.
Indices count from 0.

# Returns
A dictionary of arrays (n_z species, centre before neighbour; B the coupled functions, AA the
products, A the one-particle functions):

| key                                        | shape            |                               |
|:------------------------------------------ |:---------------- |:----------------------------- |
| `elements`, `E0`                           | n_z              | atomic numbers; eV            |
| `rcuts`, `pair_rcuts`                      | n_z × n_z        | Å                             |
| `rnl_transform`, `pair_transform`          | n_z × n_z × 7    | p, q, a, rin, r0, yin, ycut   |
| `rnl_envelope`                             | n_z × n_z × 5    | x1, x2, p1, p2, s             |
| `pair_envelope`                            | n_z × n_z × 3    | rcut, r0, p                   |
| `rnl_spline_coefs`, `pair_spline_coefs`    | n_z × n_z × 102 × functions | cubic B-spline     |
| `rnl_spline_grid`, `pair_spline_grid`      | 3                | first node, step, nodes       |
| `rspec`, `pairspec`                        | functions × 2; functions | (n, l); n             |
| `aspec_r`, `aspec_y`                       | A                | radial function, harmonic     |
| `aa_spec_1`, `aa_spec_2`, …                | products × order | indices of A                  |
| `A2B_rows`, `A2B_cols`, `A2B_vals`         | entries          | coupling B × AA, sparse       |
| `A2B_shape`                                | 2                | its size                      |
| `nnll`, `nnll_offsets`                     | Σ orders × 2; B + 1 | (n, l) of the factors of B |
| `WB`, `Wpair`                              | B × n_z; pair × n_z | coefficients               |
| `committee`                                | draws × functions | posterior draws, if any      |
| `lmax`                                     |                  | largest l                     |

Models with other parts than `known_parts` are refused.
"""
function export_arrays(model)
    m = model.model
    check_known(m)
    arrays = Dict{String, Any}(
        "elements" => collect(Int, m._i2z),
        "E0" => [Float64(m.Vref.E0[z]) for z in m._i2z],
        "WB" => Matrix{Float64}(model.ps.WB),
        "Wpair" => Matrix{Float64}(model.ps.Wpair),
        "lmax" => isqrt(length(m.ybasis)) - 1,
    )
    merge!(arrays, radial_arrays(m), product_arrays(m.tensor), committee_arrays(model))
    return arrays
end

"""
    known_parts(m)

Parts of a model, as name, value and the type that the native engine has.
"""
function known_parts(m)
    return (
        ("reference potential", m.Vref, M.OneBody),
        ("radial basis", m.rbasis, M.SplineRnlrzzBasis),
        ("pair basis", m.pairbasis, M.SplineRnlrzzBasis),
        ("envelope", first(m.rbasis.envelopes), M.PolyEnvelope2sX),
        ("pair envelope", first(m.pairbasis.envelopes), M.ACE1_PolyEnvelope1sR),
        ("transform", first(m.rbasis.transforms).trans, M.GeneralizedAgnesiTransform),
        ("pair transform", first(m.pairbasis.transforms).trans, M.GeneralizedAgnesiTransform),
    )
end

function check_known(m)
    for (what, found, known) in known_parts(m)
        found isa known || error(
            "the $what of the model is a $(nameof(typeof(found))), which the native engine does " *
            "not have; it has $(nameof(known))",
        )
    end
    return nothing
end

function radial_arrays(m)
    rnl_grid, rnl_coefs = spline_table(m.rbasis)
    pair_grid, pair_coefs = spline_table(m.pairbasis)
    return Dict{String, Any}(
        "rcuts" => pair_table(cuts -> [cuts.rcut], m.rbasis.rin0cuts)[:, :, 1],
        "pair_rcuts" => pair_table(cuts -> [cuts.rcut], m.pairbasis.rin0cuts)[:, :, 1],
        "rnl_transform" => pair_table(transform_parameters, m.rbasis.transforms),
        "pair_transform" => pair_table(transform_parameters, m.pairbasis.transforms),
        "rnl_envelope" => pair_table(many_body_envelope, m.rbasis.envelopes),
        "pair_envelope" => pair_table(pair_envelope, m.pairbasis.envelopes),
        "rnl_spline_coefs" => rnl_coefs,
        "pair_spline_coefs" => pair_coefs,
        "rnl_spline_grid" => rnl_grid,
        "pair_spline_grid" => pair_grid,
        "rspec" => [b[k] for b in m.rbasis.spec, k in (:n, :l)],
        "pairspec" => [b.n for b in m.pairbasis.spec],
    )
end

function product_arrays(tensor)
    rows, columns, values = findnz(tensor.A2Bmaps[1])
    factors, offsets = concatenated(M.get_nnll_spec(tensor))
    arrays = Dict{String, Any}(
        "aspec_r" => [a[1] - 1 for a in tensor.abasis.spec],
        "aspec_y" => [a[2] - 1 for a in tensor.abasis.spec],
        "A2B_rows" => rows .- 1,
        "A2B_cols" => columns .- 1,
        "A2B_vals" => Vector{Float64}(values),
        "A2B_shape" => collect(size(tensor.A2Bmaps[1])),
        "nnll" => factors,
        "nnll_offsets" => offsets,
    )
    for (order, products) in enumerate(tensor.aabasis.specs)
        arrays["aa_spec_$order"] = [products[i][k] - 1 for i in eachindex(products), k in 1:order]
    end
    return arrays
end

function committee_arrays(model)
    isnothing(model.co_ps) && return Dict{String, Any}()
    draws = [reshape(flat(member), 1, :) for member in model.co_ps]
    return Dict{String, Any}("committee" => reduce(vcat, draws))
end

"""
    flat(parameters)

Coefficients in ACEpotentials' order: many-body of each species, then pair of each species.
"""
flat(parameters) = [vec(parameters.WB); vec(parameters.Wpair)]

"""
    pair_table(parameters, matrix)

Array n_z × n_z × p of the p parameters of each entry of a species × species matrix.
"""
function pair_table(parameters, matrix)
    n = size(matrix, 1)
    values = [Float64.(parameters(matrix[i, j])) for i in 1:n, j in 1:n]
    return [values[i, j][k] for i in 1:n, j in 1:n, k in eachindex(values[1, 1])]
end

function transform_parameters(transform)
    t = transform.trans
    return [t.p, t.q, t.a, t.rin, t.r0, transform.yin, transform.ycut]
end

many_body_envelope(e) = [e.x1, e.x2, e.p1, e.p2, e.s]
pair_envelope(e) = [e.rcut, e.r0, e.p]

"""
    spline_table(basis)

Grid (first node, step, number of nodes) in the transformed distance, and the B-spline
coefficients, n_z × n_z × coefficients × functions, of a splined radial basis.
"""
function spline_table(basis)
    n = length(basis._i2z)
    nodes = basis.splines[1, 1].itp.ranges[1]
    tables = [spline_coefficients(basis, i, j) for i in 1:n, j in 1:n]
    n_coefficients, n_functions = length(tables[1, 1]), length(basis.spec)
    coefs = [
        tables[i, j][p][f] for i in 1:n, j in 1:n, p in 1:n_coefficients, f in 1:n_functions
    ]
    return [Float64(first(nodes)), Float64(step(nodes)), Float64(length(nodes))], coefs
end

# The vector counts from 0; only the order of its entries matters.
spline_coefficients(basis, i, j) = parent(basis.splines[i, j].itp.itp.coefs)

"""
    concatenated(specs)

(n, l) of all factors one below the other, and the offsets at which each function's begin.
"""
function concatenated(specs)
    factors = [b[k] for b in reduce(vcat, specs), k in (:n, :l)]
    return factors, [0; cumsum(length.(specs))]
end
