using DistillACE, Test
import ACEpotentials, AtomsBase, AtomsCalculators, JSON, Random
using LinearAlgebra: norm, qr
using StaticArrays: SVector
using Unitful: @u_str, ustrip

const ACEfit = ACEpotentials.ACEfit
const M = ACEpotentials.Models

small_model(; keywords...) = DistillACE.build_model(;
    elements = ["Cu", "H"],
    order = 3,
    totaldegree = [6, 5, 4],
    wL = 1.5,
    rcut = fill(5.0, 2, 2),
    e0 = [0.1, -0.2],
    keywords...,
)

"Three structures: a periodic bulk, a slab, an isolated dimer."
function small_geometry()
    Random.seed!(3)
    fcc = 1.8 .* [0 0 0; 0 1 1; 1 0 1; 1 1 0]
    bulk = fcc .+ 0.05 .* randn(4, 3)
    slab = [fcc .+ 0.05 .* randn(4, 3); 0.4 0.3 3.4; 0.4 0.3 4.2]
    dimer = [7.0 7.0 7.0; 7.0 7.0 7.8]
    cells = zeros(3, 3, 3)
    for k in 1:3
        cells[1, k, k] = cells[2, k, k] = 3.6
        cells[3, k, k] = 15.0
    end
    cells[2, 3, 3] = 18.0
    return (;
        positions = [bulk; slab; dimer],
        cells = cells,
        periodic = Bool[1 1 1; 1 1 0; 0 0 0],
        numbers = [29, 29, 29, 29, 29, 29, 29, 29, 1, 1, 1, 1],
        offsets = [0, 4, 10, 12],
    )
end

function small_labels()
    Random.seed!(4)
    virials = randn(3, 3, 3)
    return (;
        energies = randn(3),
        forces = randn(12, 3),
        virials = (virials .+ permutedims(virials, (1, 3, 2))) ./ 2,
        weights = [30.0 1.0 1.0; 60.0 2.0 1.0; 30.0 1.0 0.0],
    )
end

function fitted(; kind, model = small_model(), pair = true, smoothness = 4.0, options...)
    problem = DistillACE.least_squares(
        model; smoothness, pair, small_geometry()..., small_labels()...
    )
    DistillACE.assemble!(problem, 1, 3)
    report = DistillACE.solve!(problem; kind, seed = 5, options...)
    return model, report
end

"The same by the triangular factor of the rows, or by two, of the first structures and the rest."
function fitted_to_factors(; kind, model = small_model(), split = 3, options...)
    rows = DistillACE.least_squares(
        model; smoothness = 4.0, pair = true, small_geometry()..., small_labels()...
    )
    DistillACE.assemble!(rows, 1, 3)
    all_rows, last_row = DistillACE.weighted_rows(rows), rows.rows[split][end]
    parts = split == 3 ? [all_rows] : [all_rows[1:last_row, :], all_rows[(last_row + 1):end, :]]
    height = size(all_rows, 2)
    triangles = zeros(length(parts), height, height)
    for (k, part) in enumerate(parts)
        R = qr(part).R
        triangles[k, axes(R, 1), :] .= R
    end
    problem = DistillACE.factored_least_squares(
        model; smoothness = 4.0, pair = true, triangles, labels = size(all_rows, 1)
    )
    @test DistillACE.shape(problem)["rows"] == size(all_rows, 1)
    DistillACE.solve!(problem; kind, seed = 5, options...)
    return model
end

coefficients(model) = [vec(model.ps.WB); vec(model.ps.Wpair)]

@testset "DistillACE" begin
    @testset "basis" begin
        sizes = DistillACE.describe(small_model())
        @test sizes["functions"] == 2 * (sizes["many_body"] + sizes["pair"])
        @test sizes["pair"] == 12
        degree = DistillACE.describe(small_model(; pair_degree = 3))
        @test degree["pair"] == 6
    end

    @testset "cutoffs and bond lengths by pair" begin
        model = small_model(; rcut = [5.0 4.0; 4.0 3.0])
        @test model.model.rbasis.rin0cuts[1, 2].rcut == 4.0
        @test model.model.pairbasis.rin0cuts[2, 2].rcut == 3.0
        same = small_model(; r0 = fill(1.7, 2, 2))
        tabled = small_model(; r0 = [1.7 1.7; 1.7 1.2])
        DistillACE.set_bond_lengths!(tabled, fill(1.7, 2, 2))
        for name in ("rnl_transform", "pair_transform", "pair_envelope")
            @test DistillACE.export_arrays(tabled)[name] ≈ DistillACE.export_arrays(same)[name]
        end
    end

    @testset "a pair term that reaches too far is refused" begin
        model = small_model()
        longer = merge.(model.model.pairbasis.rin0cuts, Ref((rcut = 6.0,)))
        model.model.pairbasis.rin0cuts = longer
        @test_throws "larger than the basis's cutoff" DistillACE.check_cutoffs(model)
    end

    @testset "the rows are those of ACEfit" begin
        model = small_model()
        problem = DistillACE.least_squares(
            model; smoothness = 4.0, pair = true, small_geometry()..., small_labels()...
        )
        DistillACE.assemble!(problem, 1, 3)
        A, Y, W = ACEfit.assemble(problem.data, model)
        @test problem.A .* problem.prior' ≈ W .* A
        @test problem.Y ≈ W .* Y
        @test DistillACE.shape(problem)["rows"] == 2 * (1 + 6) + 1 + 3 * 12
    end

    @testset "QR is the regularised least squares" begin
        model, report = fitted(; kind = "qr", lambda = 1e-3)
        problem = DistillACE.least_squares(
            model; smoothness = 4.0, pair = true, small_geometry()..., small_labels()...
        )
        DistillACE.assemble!(problem, 1, 3)
        A, Y = problem.A, problem.Y
        c = coefficients(model) .* problem.prior
        @test norm(A' * (A * c - Y) + 1e-6 * c) < 1e-8 * norm(A' * Y)
        @test report["committee"] == 0
    end

    @testset "solvers run, with more rows than functions" begin
        for (kind, options) in (
            ("blr", (; factorization = "cholesky", committee = 0)),
            ("blr", (; factorization = "svd", committee = 4)),
            ("rrqr", (; rtol = 1e-6)),
            ("lsqr", (; damp = 1e-2, atol = 1e-12, conlim = 1e16, maxiter = 1000)),
        )
            model = small_model(; order = 2, totaldegree = [3, 2])
            _, report = fitted(; kind, model, options...)
            @test all(isfinite, coefficients(model))
            @test norm(coefficients(model)) > 0
            @test report["committee"] == get(options, :committee, 0)
        end
    end

    @testset "a triangular factor has the solution of all rows" begin
        small() = small_model(; order = 2, totaldegree = [3, 2])
        for (kind, options) in (
            ("blr", (; factorization = "svd", committee = 0)),
            ("qr", (; lambda = 1e-2)),
            ("lsqr", (; damp = 1e-2, atol = 1e-12, conlim = 1e16, maxiter = 10_000)),
        )
            whole, _ = fitted(; kind, model = small(), options...)
            factored = fitted_to_factors(; kind, model = small(), options...)
            @test coefficients(whole) ≈ coefficients(factored) rtol = 1e-3
        end
        low() = small_model(; order = 2, totaldegree = [2, 2])
        whole, _ = fitted(; kind = "tsvd", model = low(), validation = [3])
        factored = fitted_to_factors(; kind = "tsvd", model = low(), split = 2, validation = [2])
        @test coefficients(whole) ≈ coefficients(factored) rtol = 1e-6
    end

    @testset "a factor takes the rows of the repulsion restraint" begin
        model = small_model()
        n = DistillACE.describe(model)["functions"]
        problem = DistillACE.factored_least_squares(
            model;
            smoothness = 4.0,
            pair = true,
            restraint_weight = 0.01,
            triangles = zeros(1, n + 1, n + 1),
            labels = 50,
        )
        @test DistillACE.shape(problem)["rows"] == 50 + 3
        @test count(row -> any(!iszero, row), eachrow(problem.A)) == 3
    end

    @testset "truncated SVD, which needs more rows than functions" begin
        # With the slab held out no row has a Cu-H pair: its functions get no coefficient.
        for validation in ([1], [2])
            model = small_model(; order = 2, totaldegree = [2, 2])
            fitted(; model, kind = "tsvd", validation)
            @test all(isfinite, coefficients(model))
            @test norm(coefficients(model)) > 0
        end
    end

    @testset "LSQR says how near it came" begin
        model = small_model(; order = 2, totaldegree = [3, 2])
        options = (; damp = 1e-2, atol = 1e-12, conlim = 1e16)
        _, solved = fitted(; kind = "lsqr", model, maxiter = 10_000, options...)
        _, stopped = fitted(; kind = "lsqr", model, maxiter = 1, options...)
        @test solved["gradient"] < 1e-8 < stopped["gradient"]
    end

    @testset "parameters go in as they come out" begin
        model, _ = fitted(; kind = "blr", factorization = "svd", committee = 2)
        copy = small_model()
        committee = permutedims(reduce(hcat, [DistillACE.flat(draw) for draw in model.co_ps]))
        DistillACE.set_parameters!(copy; parameters = coefficients(model), committee)
        @test coefficients(copy) == coefficients(model)
        @test DistillACE.flat.(copy.co_ps) == DistillACE.flat.(model.co_ps)
    end

    @testset "without the pair term its coefficients stay zero" begin
        model, _ = fitted(; kind = "qr", pair = false, lambda = 1e-3)
        @test iszero(model.ps.Wpair)
        @test !iszero(model.ps.WB)
    end

    @testset "the mended gradient is the released one" begin
        model, _ = fitted(; kind = "qr", lambda = 1e-3)
        released = DistillACE.evaluate(model; small_geometry()...)
        mended = DistillACE.evaluate(model; mended = true, small_geometry()...)
        for name in ("energies", "forces", "virials")
            @test released[name] ≈ mended[name] rtol = 1e-10
        end
        @test released["energies"] ≈ DistillACE.energies(model; small_geometry()...)
        times = DistillACE.time_calls(model; repeats = 3, mended = true, small_geometry()...)
        @test length(times) == 3 && all(>(0), times)
    end

    @testset "an isolated atom has its one-body energy" begin
        model, _ = fitted(; kind = "qr", lambda = 1e-3)
        cells = zeros(1, 3, 3)
        for k in 1:3
            cells[1, k, k] = 20.0
        end
        alone = DistillACE.evaluate(
            model;
            positions = fill(10.0, 1, 3),
            cells,
            periodic = Bool[0 0 0],
            numbers = [29],
            offsets = [0, 1],
        )
        @test alone["energies"] == [0.1]
    end

    @testset "export" begin
        model, _ = fitted(; kind = "blr", factorization = "svd", committee = 4)
        arrays = DistillACE.export_arrays(model)
        sizes = DistillACE.describe(model)
        @test arrays["elements"] == [29, 1]
        @test arrays["E0"] == [0.1, -0.2]
        @test size(arrays["rnl_spline_coefs"])[1:3] == (2, 2, 102)
        @test size(arrays["pair_spline_coefs"]) == (2, 2, 102, sizes["pair"])
        @test arrays["A2B_shape"][1] == sizes["many_body"]
        @test sum(size(arrays["aa_spec_$order"], 1) for order in 1:3) == arrays["A2B_shape"][2]
        @test arrays["nnll_offsets"][end] == size(arrays["nnll"], 1)
        @test size(arrays["committee"]) == (4, sizes["functions"])
        @test arrays["committee"][1, 1:sizes["many_body"]] == model.co_ps[1].WB[:, 1]
    end

    @testset "a model with other parts than the native engine's is not exported" begin
        keywords = (;
            elements = [:Cu, :H], order = 2, totaldegree = [4, 3], rcut = 5.0,
            Eref = Dict(:Cu => 0.1, :H => -0.2),
        )
        plain = ACEpotentials.ace1_model(; keywords...)
        @test DistillACE.export_arrays(plain)["elements"] == [29, 1]
        other = ACEpotentials.ace1_model(; keywords..., pair_envelope = (:x, 0, 2))
        @test_throws "pair envelope of the model is a PolyEnvelope2sX" DistillACE.export_arrays(
            other
        )
        core = ACEpotentials.ace1_model(; keywords..., ZBL = true)
        @test_throws "reference potential of the model is" DistillACE.export_arrays(core)
    end

    @testset "a JSON that is no model is refused" begin
        for (text, missing_key) in
            (("[1, 2]", "model_spec"), ("{\"model_spec\": {}}", "model_parameters"))
            path = tempname() * ".json"
            write(path, text)
            @test_throws "it has no $missing_key" DistillACE.load(path)
        end
    end

    @testset "files" begin
        for keywords in ((;), (; totaldegree = [5.5, 4.5, 4.0]), (; r0 = [2.6 1.9; 1.9 1.2]),
            (; rcut = [5.0 4.0; 4.0 3.0]))
            model = small_model(; keywords...)
            M.set_linear_parameters!(model, randn(DistillACE.describe(model)["functions"]))
            path = tempname() * ".json"
            DistillACE.save(model, path)
            again = DistillACE.load(path)
            @test coefficients(again) == coefficients(model)
            @test DistillACE.evaluate(again; small_geometry()...)["forces"] ==
                DistillACE.evaluate(model; small_geometry()...)["forces"]
        end
        model, _ = fitted(; kind = "blr", factorization = "svd", committee = 4)
        path = tempname() * ".json"
        DistillACE.save(model, path)
        @test length(DistillACE.load(path).co_ps) == 4
        plain, _ = ACEpotentials.load_model(path)
        @test coefficients(plain) == coefficients(model)
    end

    @testset "the repulsion restraint adds a row for each pair" begin
        problem = DistillACE.least_squares(
            small_model();
            smoothness = 4.0,
            pair = true,
            restraint_weight = 0.01,
            small_geometry()...,
            small_labels()...,
        )
        @test DistillACE.shape(problem)["structures"] == 3 + 3
    end

    include("students.jl")
end
