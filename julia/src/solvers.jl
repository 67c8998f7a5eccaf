"""
    run_solver(kind, problem; options...)

Result of an ACEfit solver, as its dictionary, and the factorisation used.

| kind    | options                                                            |
|:------- |:------------------------------------------------------------------ |
| `:blr`  | `factorization` (`cholesky` or `svd`), `committee` (needs `svd`)     |
| `:ard`  | `threshold`                                                        |
| `:qr`   | `lambda`                                                           |
| `:rrqr` | `rtol`                                                             |
| `:lsqr` | `damp`, `atol`, `conlim`, `maxiter`                                |
| `:tsvd` | `validation`: indices of the structures that choose the truncation |
"""
function run_solver(::Val{:blr}, problem; factorization, committee)
    name = String(factorization)
    draws = Int(committee)
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

function run_solver(::Val{:ard}, problem; threshold)
    solver = ACEfit.BLR(; ard_threshold = Float64(threshold), verbose = false)
    return ACEfit.solve(solver, problem.A, problem.Y), "cholesky"
end

function run_solver(::Val{:qr}, problem; lambda)
    return ACEfit.solve(ACEfit.QR(; lambda = Float64(lambda)), problem.A, problem.Y), "qr"
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
    return ACEfit.solve(solver, problem.A, problem.Y), "lsqr"
end

function run_solver(::Val{:tsvd}, problem; validation)
    held_out = falses(length(problem.Y))
    for k in validation
        held_out[problem.rows[Int(k)]] .= true
    end
    kept = .!held_out
    result = ACEfit.solve(
        ACEfit.TruncatedSVD(),
        problem.A[kept, :],
        problem.Y[kept],
        problem.A[held_out, :],
        problem.Y[held_out],
    )
    return result, "svd"
end

function bayesian(problem, factorization, committee)
    solver = ACEfit.BLR(;
        factorization = factorization, committee_size = committee, verbose = false
    )
    return ACEfit.solve(solver, problem.A, problem.Y)
end
