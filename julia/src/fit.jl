"""
The regression of a model on labelled structures. Rows are weighted and columns divided by the
smoothness prior's diagonal, so that `A * c ≈ Y` with coefficients `θ = c ./ prior`.

`rows` are those of each of `data`, or of each triangular factor and after them of each of `data`;
`labels` is the number of rows that were labelled, which factors hold in fewer.
"""
mutable struct LeastSquares{TM}
    model::TM
    data::Vector{ACEpotentials.AtomsData}
    rows::Vector{UnitRange{Int}}
    columns::UnitRange{Int}
    prior::Vector{Float64}
    A::Matrix{Float64}
    Y::Vector{Float64}
    labels::Int
end

"""
    least_squares(model; smoothness, pair, restraint_weight = nothing, arrays...)

Prepare the regression of `model` on structures; `assemble!` then fills its rows.

# Arguments
- `smoothness`: power p of the algebraic smoothness prior
- `pair`: whether the pair term is fitted; without it its coefficients stay zero
- `restraint_weight`: weight of ACEpotentials' repulsion restraint; `nothing` for none
- `arrays`: the arguments of `Geometry` and of `Labels`
"""
function least_squares(
    model;
    smoothness,
    pair,
    restraint_weight = nothing,
    energies,
    forces,
    virials,
    weights,
    geometry...,
)
    labels = Labels(; energies, forces, virials, weights)
    data = atoms_data(model, Geometry(; geometry...), labels)
    append!(data, restraint_data(model, restraint_weight))
    return regression(model, data, Int[]; smoothness, pair)
end

"""
    factored_least_squares(model; smoothness, pair, restraint_weight = nothing, triangles, labels)

The regression of `model` on rows that were assembled elsewhere, given by triangular factors.

With `[A Y] = Q R`, `‖A c - Y‖` is that of the rows of `R`, so a solver of least squares finds the
same solution in `R`. The rows of a repulsion restraint are added as they are.

# Arguments
- `triangles`: factors × (n + 1) × (n + 1), the `R` of the weighted rows `[A Y]` of n functions,
  without the prior
- `labels`: number of all those rows
- `smoothness`, `pair`, `restraint_weight`: those of `least_squares`
"""
function factored_least_squares(
    model; smoothness, pair, restraint_weight = nothing, triangles, labels
)
    factors = Array{Float64, 3}(triangles)
    data = restraint_data(model, restraint_weight)
    heights = fill(size(factors, 2), size(factors, 1))
    problem = regression(model, data, heights; smoothness, pair)
    scale = problem.prior[problem.columns]
    for k in eachindex(heights)
        problem.A[problem.rows[k], :] .= view(factors, k, :, 1:length(scale)) ./ scale'
        problem.Y[problem.rows[k]] .= view(factors, k, :, length(scale) + 1)
    end
    for (restraint, rows) in zip(data, problem.rows[(length(heights) + 1):end])
        fill_rows!(problem, restraint, rows)
    end
    problem.labels = Int(labels) + sum(ACEfit.count_observations, data; init = 0)
    return problem
end

"""
    regression(model, data, heights; smoothness, pair)

An empty regression with as many rows as `heights` say, and after them those of `data`.
"""
function regression(model, data, heights; smoothness, pair)
    prior = diag(M.algebraic_smoothness_prior(model.model; p = smoothness))
    columns = 1:(pair ? length(prior) : many_body_columns(model))
    ends = cumsum([heights; Int[ACEfit.count_observations(d) for d in data]])
    rows = UnitRange{Int}[(k == 1 ? 1 : ends[k - 1] + 1):ends[k] for k in eachindex(ends)]
    n_rows = isempty(ends) ? 0 : last(ends)
    A = zeros(n_rows, length(columns))
    return LeastSquares(model, data, rows, columns, prior, A, zeros(n_rows), n_rows)
end

"""
    shape(problem)

Numbers of `structures` and labelled `rows` (repulsion restraints included) and `columns`.
"""
function shape(problem)
    return Dict{String, Any}(
        "structures" => length(problem.data),
        "rows" => problem.labels,
        "columns" => size(problem.A, 2),
    )
end

"""
    assemble!(problem, first, last)

Fill the rows of structures `first:last`, each on one of Julia's threads.
"""
function assemble!(problem, first, last)
    Threads.@threads :dynamic for k in Int(first):Int(last)
        fill_rows!(problem, problem.data[k], problem.rows[k])
    end
    return nothing
end

"""
    weighted_rows(problem)

The assembled rows `[A Y]`, weighted, without the prior.
"""
function weighted_rows(problem)
    return [problem.A .* problem.prior[problem.columns]' problem.Y]
end

"""
    solve!(problem; kind, seed, options...)

Solve the regression and put the coefficients into its model. The matrix is used up.

# Arguments
- `kind`: `blr`, `qr`, `rrqr`, `lsqr` or `tsvd`
- `seed`: of what is random in the solver (posterior draws, randomised factorisation)
- `options`: of the solver, see `run_solver`

# Returns
A dictionary with `factorization` (as used), `committee` (number of posterior draws) and the
hyperparameters that the solver reports.
"""
function solve!(problem; kind, seed, options...)
    Random.seed!(Int(seed))
    BLAS.set_num_threads(Threads.nthreads())
    result, factorization = run_solver(Val(Symbol(kind)), problem; options...)
    M.set_linear_parameters!(problem.model, coefficients(problem, result["C"]))
    draws = get(result, "committee", zeros(0, 0))
    if size(draws, 2) > 0
        M.set_committee!(problem.model, [coefficients(problem, c) for c in eachcol(draws)])
    end
    report = Dict{String, Any}("factorization" => factorization, "committee" => size(draws, 2))
    for name in ("lml", "var_0", "var_e", "σ", "gradient")
        haskey(result, name) && (report[name] = Float64(result[name]))
    end
    problem.A = zeros(0, 0)
    return report
end

function atoms_data(model, geometry, labels)
    all_systems = systems(geometry, labels)
    return ACEpotentials.AtomsData[
        ACEpotentials.AtomsData(
            all_systems[s];
            energy_key = "energy",
            force_key = "forces",
            virial_key = "virial",
            weights = structure_weights(labels, s),
            v_ref = model.model.Vref,
        ) for s in eachindex(all_systems)
    ]
end

function structure_weights(labels, s)
    return Dict("default" => Dict(("E", "F", "V") .=> labels.weights[s, :]))
end

"""
    restraint_data(model, weight)

The dimers at very short distance by which `acefit!(repulsion_restraint = true)` asks for
repulsion; their energies are weighted by `weight`. `nothing` is no weight, and no dimers.
"""
restraint_data(model, ::Nothing) = ACEpotentials.AtomsData[]

function restraint_data(model, weight)
    dimers = ACEpotentials._rep_dimer_data_atomsbase(
        model; weight = Float64(weight), energy_key = :energy
    )
    return ACEpotentials.AtomsData[dimers...]
end

many_body_columns(model) = length(model.model.tensor) * length(model.model._i2z)

function fill_rows!(problem, data, rows)
    weights = ACEfit.weight_vector(data)
    features = feature_rows(data, problem.model)
    scale = problem.prior[problem.columns]
    problem.A[rows, :] .= weights .* view(features, :, problem.columns) ./ scale'
    problem.Y[rows] .= weights .* ACEfit.target_vector(data)
    return nothing
end

"""
    feature_rows(data, model)

The rows of `ACEfit.feature_matrix`: energy, forces and virial (xx yy zz yz xz xy) of each basis
function, as far as `data` has the label.

ACEpotentials 0.10.1 sums the sites in a loop over all functions, on arrays whose types come from
its evaluation; here the sum lies behind a function call, where the compiler knows them, and goes over
the functions of the site's species alone.
"""
function feature_rows(data, model)
    system = data.system
    m = model.model
    columns, n = M.length_basis(m), length(system)
    energies, forces, virials = zeros(columns), zeros(3 * n, columns), zeros(6, columns)
    neighbours = M.PairList(system, M.cutoff_radius(model))
    for i in 1:n
        js, rs, zs, z = M.get_neighbours(system, model, neighbours, i)
        values, gradients = M.evaluate_basis_ed(m, rs, zs, z, model.ps, model.st)
        for own in (M.get_basis_inds(m, z), M.get_pairbasis_inds(m, z))
            add_site_rows!(energies, forces, virials, i, js, rs, values, gradients, own)
        end
        # `evaluate_basis` takes arrays from this buffer, a task's own, and never gives them back.
        M.Bumper.reset_buffer!()
    end
    parts = (energies' => data.energy_key, forces => data.force_key, virials => data.virial_key)
    return vcat(zeros(0, columns), (part for (part, key) in parts if !isnothing(key))...)
end

"""
    add_site_rows!(energies, forces, virials, i, js, rs, values, gradients, own)

Add what the functions `own` of site `i` with neighbours `js` at `rs` give; `gradients` are
functions × neighbours.
"""
function add_site_rows!(energies, forces, virials, i, js, rs, values, gradients, own)
    for k in own
        energies[k] += values[k]
        for (α, j) in enumerate(js)
            g, r = gradients[k, α], rs[α]
            for a in 1:3
                forces[3 * (j - 1) + a, k] -= g[a]
                forces[3 * (i - 1) + a, k] += g[a]
            end
            for (c, (a, b)) in enumerate(((1, 1), (2, 2), (3, 3), (3, 2), (3, 1), (2, 1)))
                virials[c, k] -= g[a] * r[b]
            end
        end
    end
    return nothing
end

"""
    coefficients(problem, c)

Coefficients of all basis functions, in ACEpotentials' order, of a solution `c` of the regression.
"""
function coefficients(problem, c)
    θ = zeros(length(problem.prior))
    θ[problem.columns] .= c ./ problem.prior[problem.columns]
    return θ
end
