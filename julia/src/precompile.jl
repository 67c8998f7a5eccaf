# What a fit and a calculator call, run once while the package is installed, so that a later start
# finds it compiled. ACEpotentials compiles anew for each number of species, order, number of radial
# functions (which the largest degree decides) and largest l, so these are those of a basis in use:
# the default one, and the smaller one of the documentation, with few functions of the higher orders.
const COMPILED_DEGREES = ([10.0, 8.0, 3.0], [18.0, 12.0, 3.0, 3.0])
# Gradients of a basis are taken in chunks of at most 12 coordinates of the neighbours, of 11 or 12
# for most sites: those of an atom among 9, and among 12, are the two.
const COMPILED_CLUSTERS = ((3, 3, 1), (2, 3, 2))

"""
    clusters()

The arguments of `Geometry` for grids of Cu and H, whose atoms are all neighbours within 3 Å.
"""
function clusters()
    grids = [
        [0.9 * (place[k] - 1) for place in vec(CartesianIndices(sizes)), k in 1:3] for
        sizes in COMPILED_CLUSTERS
    ]
    offsets = [0; cumsum(size.(grids, 1))]
    return (;
        positions = reduce(vcat, grids),
        cells = [a == b ? 12.0 : 0.0 for _ in grids, a in 1:3, b in 1:3],
        periodic = fill(true, length(grids), 3),
        numbers = [isodd(i) ? 29 : 1 for i in 1:last(offsets)],
        offsets,
    )
end

"""
    workload(totaldegree)

Build, fit, export, evaluate, write and read a model of two species.
"""
function workload(totaldegree)
    model = build_model(;
        elements = ["Cu", "H"],
        order = length(totaldegree),
        totaldegree,
        wL = 1.5,
        rcut = fill(3.0, 2, 2),
        e0 = [0.0, 0.0],
    )
    geometry = clusters()
    structures, atoms = length(geometry.offsets) - 1, length(geometry.numbers)
    labels = (;
        energies = ones(structures),
        forces = ones(atoms, 3),
        virials = ones(structures, 3, 3),
        weights = ones(structures, 3),
    )
    rows = least_squares(model; smoothness = 4.0, pair = true, geometry..., labels...)
    assemble!(rows, 1, structures)
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
    mktempdir() do folder
        path = joinpath(folder, "model.json")
        save(model, path)
        load(path)
    end
    evaluate(model; geometry...)
    evaluate(model; mended = true, geometry...)
    return energies(model; geometry...)
end

PrecompileTools.@compile_workload begin
    for totaldegree in COMPILED_DEGREES
        try
            workload(totaldegree)
        catch failure
            # The package works without, only its first calls are slow.
            @warn "compiling ahead failed for the degrees $totaldegree" failure
        end
    end
end
