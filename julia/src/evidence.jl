# ACEfit keeps the standard deviations of prior and noise above 1e-4.
const LEAST_VARIANCE = 1e-8
const RATIOS = 241
const GOLDEN_STEPS = 60

"""
    most_evident(A, Y, labels, committee)

Bayesian linear regression on the triangular factor `[A Y]` of `labels` rows: the estimator of
`ACEfit.BLR`, which takes the number of rows from the height of its matrix.

With prior variance v and noise e, and z = Uᵀ Y of A = U S Vᵀ, the evidence is that of
`bayesian_linear_regression_svd`. For each ratio e / v the best noise is known in closed form
(MacKay, Neural Computation 4, 415 (1992)), which leaves a maximum over that ratio: the best of a
grid, then the golden section around it.

# Returns
ACEfit's dictionary: `C`, `lml`, `var_0`, `var_e` and, of `committee` draws, `committee`.
"""
function most_evident(A, Y, labels, committee)
    U, S, V = svd(A)
    z = U' * Y
    rest = sum(abs2, Y - U * z)
    evidence(x) = log_evidence(variances(exp(x), S, z, rest, labels)..., S, z, rest, labels)
    top = max(first(S)^2, floatmin())
    grid = range(log(top * 1e-22), log(top * 1e2); length = RATIOS)
    best = argmax(evidence.(grid))
    ends = grid[max(best - 1, 1)], grid[min(best + 1, RATIOS)]
    var_0, var_e = variances(exp(golden_section(evidence, ends...)), S, z, rest, labels)
    c = V * (var_0 .* S .* z ./ (var_0 .* S .^ 2 .+ var_e))
    result = Dict{String, Any}(
        "C" => c,
        "lml" => log_evidence(var_0, var_e, S, z, rest, labels),
        "var_0" => var_0,
        "var_e" => var_e,
    )
    if committee > 0
        deviations = 1 ./ sqrt.(S .^ 2 ./ var_e .+ 1 / var_0)
        result["committee"] = c .+ V * (deviations .* randn(length(c), committee))
    end
    return result
end

"""
    variances(ratio, S, z, rest, labels)

Variances of prior and noise whose ratio noise / prior is given, the noise at its best.
"""
function variances(ratio, S, z, rest, labels)
    misfit = rest + sum(z .^ 2 .* ratio ./ (S .^ 2 .+ ratio))
    var_e = max(misfit / labels, LEAST_VARIANCE)
    return max(var_e / ratio, LEAST_VARIANCE), var_e
end

function log_evidence(var_0, var_e, S, z, rest, labels)
    t = var_0 .* S .^ 2 .+ var_e
    return -0.5 * (
        sum(z .^ 2 ./ t .+ log.(t)) +
        rest / var_e +
        (labels - length(S)) * log(var_e) +
        labels * log(2π)
    )
end

"""
    golden_section(f, low, high)

Where `f` is largest between `low` and `high`.
"""
function golden_section(f, low, high)
    share = (sqrt(5) - 1) / 2
    for _ in 1:GOLDEN_STEPS
        step = share * (high - low)
        if f(high - step) < f(low + step)
            low = high - step
        else
            high = low + step
        end
    end
    return (low + high) / 2
end
