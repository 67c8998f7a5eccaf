"""
    run_solver(kind, problem; options...)

Result of an ACEfit solver, as its dictionary, and the factorisation used.

On triangular factors `blr` is `most_evident`, of the same evidence; the other solvers are ACEfit's.

| kind    | options                                                            |
|:------- |:------------------------------------------------------------------ |
| `:blr`  | `factorization` (`cholesky` or `svd`), `committee` (needs `svd`)     |
| `:qr`   | `lambda`                                                           |
| `:rrqr` | `rtol`                                                             |
| `:lsqr` | `damp`, `atol`, `conlim`, `maxiter`                                |
| `:tsvd` | `validation`: which of `problem.rows` choose the truncation |
"""
function run_solver(::Val{:blr}, problem; factorization, committee)
    name = String(factorization)
    draws = Int(committee)
    if problem.labels != length(problem.Y)
        return most_evident(problem.A, problem.Y, problem.labels, draws), "svd"
    end
    try
        return bayesian(problem, Symbol(name), draws), name
    catch failure
        if name != "cholesky" || !(failure isa PosDefException)
            rethrow()
        end
        @warn "The Cholesky factorisation met a matrix that is not positive definite; using svd."
        return bayesian(problem, :svd, draws), "svd"
    end
end

function run_solver(::Val{:qr}, problem; lambda)
    try
        return ACEfit.solve(ACEfit.QR(; lambda = Float64(lambda)), problem.A, problem.Y), "qr"
    catch failure
        failure isa SingularException || rethrow()
        error(
            "the rows do not determine every coefficient; set student.solver.strength " *
            "(for example 1e-3), or choose blr",
        )
    end
end

function run_solver(::Val{:rrqr}, problem; rtol)
    return ACEfit.solve(ACEfit.RRQR(; rtol = Float64(rtol)), problem.A, problem.Y), "rrqr"
end

function run_solver(::Val{:lsqr}, problem; damp, atol, conlim, maxiter)
    solver = ACEfit.LSQR(;
        damp = Float64(damp),
        atol = Float64(atol),
        conlim = Float64(conlim),
        maxiter = Int(maxiter),
    )
    result = ACEfit.solve(solver, problem.A, problem.Y)
    result["gradient"] = relative_gradient(problem, result["C"], Float64(damp))
    return result, "lsqr"
end

"""
    relative_gradient(problem, c, damp)

Gradient of the damped least-squares problem at `c`, relative to its scale: zero at the solution.
"""
function relative_gradient(problem, c, damp)
    residual = problem.Y - problem.A * c
    scale = norm(problem.A) * norm(residual)
    return iszero(scale) ? 0.0 : norm(problem.A' * residual - damp^2 * c) / scale
end

function run_solver(::Val{:tsvd}, problem; validation)
    held_out = falses(length(problem.Y))
    for k in validation
        held_out[problem.rows[Int(k)]] .= true
    end
    kept = .!held_out
    # ACEfit divides by singular values, so functions that no kept row has are left out.
    used = [any(!iszero, view(problem.A, kept, k)) for k in axes(problem.A, 2)]
    result = ACEfit.solve(
        ACEfit.TruncatedSVD(),
        problem.A[kept, used],
        problem.Y[kept],
        problem.A[held_out, used],
        problem.Y[held_out],
    )
    c = zeros(length(used))
    c[used] .= result["C"]
    return Dict{String, Any}("C" => c), "svd"
end

function bayesian(problem, factorization, committee)
    solver = ACEfit.BLR(;
        factorization = factorization, committee_size = committee, verbose = false
    )
    return ACEfit.solve(solver, problem.A, problem.Y)
end
