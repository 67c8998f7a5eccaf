"""
The regression of a model on labelled structures. Rows are weighted and columns divided by the
smoothness prior's diagonal as they are filled in, so that `A * c ≈ Y` with coefficients
`θ = c ./ prior`.
"""
mutable struct LeastSquares{TM}
    model::TM
    data::Vector{ACEpotentials.AtomsData}
    rows::Vector{UnitRange{Int}}
    columns::UnitRange{Int}
    prior::Vector{Float64}
    A::Matrix{Float64}
    Y::Vector{Float64}
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
    isnothing(restraint_weight) || append!(data, restraint_data(model, restraint_weight))
    prior = diag(M.algebraic_smoothness_prior(model.model; p = smoothness))
    columns = 1:(pair ? length(prior) : many_body_columns(model))
    rows = row_ranges(data)
    n_rows = isempty(rows) ? 0 : last(rows[end])
    return LeastSquares(
        model, data, rows, columns, prior, zeros(n_rows, length(columns)), zeros(n_rows)
    )
end

"""
    shape(problem)

Numbers of `structures` (repulsion restraints included), `rows` and `columns`.
"""
function shape(problem)
    return Dict{String, Any}(
        "structures" => length(problem.data),
        "rows" => size(problem.A, 1),
        "columns" => size(problem.A, 2),
    )
end

"""
    assemble!(problem, from, to)

Fill the rows of structures `from:to`, each on one of Julia's threads.
"""
function assemble!(problem, from, to)
    Threads.@threads :dynamic for k in Int(from):Int(to)
        fill_rows!(problem, k)
    end
    return nothing
end

"""
    solve!(problem; kind, seed, options...)

Solve the assembled regression and put the coefficients into its model. The matrix is used up.

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
repulsion; their energies are weighted by `weight`.
"""
function restraint_data(model, weight)
    dimers = ACEpotentials._rep_dimer_data_atomsbase(
        model; weight = Float64(weight), energy_key = :energy
    )
    return ACEpotentials.AtomsData[dimers...]
end

many_body_columns(model) = length(model.model.tensor) * length(model.model._i2z)

function row_ranges(data)
    last_rows = cumsum([ACEfit.count_observations(d) for d in data])
    return [(k == 1 ? 1 : last_rows[k - 1] + 1):last_rows[k] for k in eachindex(data)]
end

function fill_rows!(problem, k)
    data, rows = problem.data[k], problem.rows[k]
    weights = ACEfit.weight_vector(data)
    features = ACEfit.feature_matrix(data, problem.model)
    scale = problem.prior[problem.columns]
    problem.A[rows, :] .= weights .* view(features, :, problem.columns) ./ scale'
    problem.Y[rows] .= weights .* ACEfit.target_vector(data)
    # `evaluate_basis` takes its arrays from this buffer and never gives them back.
    M.Bumper.reset_buffer!()
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
