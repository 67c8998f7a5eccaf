# What a fit and a calculator call, run once while the package is installed, so that a later start
# finds it compiled. ACEpotentials compiles anew for each number of species and each order.

"""
    workload(order)

Build, fit, export and evaluate a small model of two species.
"""
function workload(order)
    model = build_model(;
        elements = ["Cu", "H"],
        order,
        totaldegree = fill(5.0, order),
        wL = 1.5,
        rcut = fill(3.0, 2, 2),
        e0 = [0.0, 0.0],
    )
    geometry = (;
        positions = [0.0 0.0 0.0; 1.1 0.9 1.3; 0.2 2.0 0.4],
        cells = reshape([9.0 0.0 0.0; 0.0 9.0 0.0; 0.0 0.0 9.0], 1, 3, 3),
        periodic = fill(true, 1, 3),
        numbers = [29, 1, 1],
        offsets = [0, 3],
    )
    labels = (;
        energies = [1.0],
        forces = ones(3, 3),
        virials = ones(1, 3, 3),
        weights = ones(1, 3),
    )
    rows = least_squares(model; smoothness = 4.0, pair = true, geometry..., labels...)
    assemble!(rows, 1, 1)
    height = length(rows.columns) + 1
    triangles = zeros(1, height, height)
    triangles[1, 1:size(rows.A, 1), :] .= weighted_rows(rows)
    solvers = ((; kind = "blr", factorization = "svd", committee = 1), (; kind = "qr", lambda = 1.0))
    for solver in solvers
        problem = factored_least_squares(
            model; smoothness = 4.0, pair = true, triangles, labels = size(rows.A, 1)
        )
        solve!(problem; seed = 1, solver...)
    end
    export_arrays(model)
    evaluate(model; geometry...)
    evaluate(model; mended = true, geometry...)
    return energies(model; geometry...)
end

PrecompileTools.@compile_workload begin
    for order in (3, 4)
        try
            workload(order)
        catch failure
            # The package works without, only its first calls are slow.
            @warn "compiling ahead failed for order $order" failure
        end
    end
end
