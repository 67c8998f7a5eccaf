# Transforms (p, q) that `ace1_model` gives the many-body and the pair radial functions.
const MANY_BODY_AGNESI = (2, 4)
const PAIR_AGNESI = (1, 3)
# Key of `model.model.meta` under which the arguments of `build_model` are kept.
const ARGUMENTS = "distill_arguments"

"""
    build_model(; elements, order, totaldegree, wL, rcut, e0, r0 = nothing, pair_degree = nothing)

An `ace1_model` with all coefficients zero.

# Arguments
- `elements`: chemical symbols, in the order of the model's species
- `order`: correlation order
- `totaldegree`: one number for each correlation order
- `wL`: weight of l against n in the degree
- `rcut`: cutoffs, Å, species × species
- `e0`: one-body energies, eV, one for each species
- `r0`: bond lengths, Å, species × species; `nothing` takes ACEpotentials' table
- `pair_degree`: degree of the pair term; `nothing` takes the largest total degree
"""
function build_model(;
    elements, order, totaldegree, wL, rcut, e0, r0 = nothing, pair_degree = nothing
)
    symbols = [Symbol(String(element)) for element in elements]
    cutoffs = Matrix{Float64}(rcut)
    bond_lengths = isnothing(r0) ? nothing : Matrix{Float64}(r0)
    model = ACEpotentials.ace1_model(;
        elements = symbols,
        order = Int(order),
        totaldegree = degrees(totaldegree),
        wL = Float64(wL),
        Eref = Dict(symbols .=> Vector{Float64}(e0)),
        cutoff_keywords(symbols, cutoffs)...,
        bond_length_keywords(bond_lengths)...,
        pair_keywords(pair_degree)...,
    )
    if !isnothing(bond_lengths) && !allequal(bond_lengths)
        set_bond_lengths!(model, bond_lengths)
        # `load_model` cannot make such a model: with the table in the file it says so.
        model.model.meta["model_spec"][:r0] = by_pair(symbols, bond_lengths)
    end
    check_cutoffs(model)
    model.model.meta[ARGUMENTS] = Dict{String, Any}(
        "elements" => String.(symbols),
        "order" => Int(order),
        "totaldegree" => Vector{Float64}(totaldegree),
        "wL" => Float64(wL),
        "rcut" => rows_of(cutoffs),
        "e0" => Vector{Float64}(e0),
        "r0" => isnothing(bond_lengths) ? nothing : rows_of(bond_lengths),
        "pair_degree" => pair_degree,
    )
    return model
end

"""
    describe(model)

The model's `elements` (atomic numbers), largest `cutoff` (Å), and numbers of basis functions:
`many_body` and `pair` of each species, and `functions` in all.
"""
function describe(model)
    m = model.model
    return Dict{String, Any}(
        "elements" => collect(Int, m._i2z),
        "cutoff" => largest_cutoff(m.rbasis),
        "many_body" => length(m.tensor),
        "pair" => length(m.pairbasis),
        "functions" => M.length_basis(m),
    )
end

largest_cutoff(basis) = maximum(cuts.rcut for cuts in basis.rin0cuts)

"""
    degrees(totaldegree)

Total degrees as ACEpotentials wants them: integers where all are whole, because its own
`load_model` reads nothing else.
"""
function degrees(totaldegree)
    values = Vector{Float64}(totaldegree)
    return all(isinteger, values) ? Int.(values) : values
end

"""
    cutoff_keywords(symbols, cutoffs)

Keywords of `ace1_model` for cutoffs in Å: one number where all pairs share it, else a table.
"""
function cutoff_keywords(symbols, cutoffs)
    allequal(cutoffs) && return (; rcut = first(cutoffs))
    return (; rcut = by_pair(symbols, cutoffs), variable_cutoffs = true)
end

"""
    by_pair(symbols, matrix)

A species × species matrix as the table over pairs of symbols that ACEpotentials takes.
"""
function by_pair(symbols, matrix)
    n = length(symbols)
    return Dict((symbols[i], symbols[j]) => matrix[i, j] for i in 1:n for j in 1:n)
end

"""
    bond_length_keywords(bond_lengths)

Keywords of `ace1_model` for bond lengths in Å. `ace1_model` 0.10 takes one number only; a table
starts from its smallest entry and is put in by `set_bond_lengths!`.
"""
bond_length_keywords(::Nothing) = (;)
bond_length_keywords(bond_lengths) = (; r0 = minimum(bond_lengths))

pair_keywords(::Nothing) = (;)
pair_keywords(pair_degree) = (; pair_degree = Int(pair_degree))

"""
    set_bond_lengths!(model, bond_lengths)

Give each pair of species its own bond length, Å. The radial splines are functions of the
transformed distance alone, so only transforms and the pair term's envelopes change.
"""
function set_bond_lengths!(model, bond_lengths)
    m = model.model
    for (basis, (p, q)) in ((m.rbasis, MANY_BODY_AGNESI), (m.pairbasis, PAIR_AGNESI))
        basis.rin0cuts = map_pairs(basis) do i, j
            merge(basis.rin0cuts[i, j], (r0 = bond_lengths[i, j],))
        end
        basis.transforms = map_pairs(basis) do i, j
            M.agnesi_transform(basis.rin0cuts[i, j], p, q)
        end
    end
    pairs = m.pairbasis
    pairs.envelopes = map_pairs(pairs) do i, j
        cuts = pairs.rin0cuts[i, j]
        M.ACE1_PolyEnvelope1sR(cuts.rcut, cuts.r0, pairs.envelopes[i, j].p)
    end
    return model
end

"""
    map_pairs(f, basis)

The static species × species matrix of `f(i, j)`, i the centre and j the neighbour.
"""
function map_pairs(f, basis)
    n = length(basis._i2z)
    return SMatrix{n, n}([f(i, j) for i in 1:n, j in 1:n])
end

"""
    check_cutoffs(model)

Refuse a pair term that reaches further than the many-body basis: neighbours are searched within
the cutoff of the latter, so the rest of the pair term would be lost without a word.
"""
function check_cutoffs(model)
    pair, many_body = largest_cutoff.((model.model.pairbasis, model.model.rbasis))
    if pair > many_body
        error(
            "the pair term's cutoff of $pair Å is larger than the basis's cutoff of " *
            "$many_body Å, which ACEpotentials does not support",
        )
    end
    return nothing
end

rows_of(matrix) = [collect(row) for row in eachrow(matrix)]
