# Students of `data`, with the native engine's predictions; `pytest` compares these with the file.

const DATA = joinpath(@__DIR__, "data")
const STUDENT = joinpath(DATA, "student.npz")

"The structures of `predictions.json` as AtomsBase systems, with what is predicted."
function cases()
    return map(JSON.parsefile(joinpath(DATA, "predictions.json"))) do case
        atoms = [
            AtomsBase.Atom(AtomsBase.ChemicalSpecies(Int(z)), SVector{3}(Float64.(r)) * u"Å") for
            (z, r) in zip(case["numbers"], case["positions"])
        ]
        periodic = Tuple(Bool.(case["periodic"]))
        # A cell needs three vectors, also where it is open.
        cell = ntuple(3) do k
            vector = SVector{3}(Float64.(case["cell"][k]))
            (iszero(vector) ? SVector(ntuple(i -> i == k ? 50.0 : 0.0, 3)) : vector) * u"Å"
        end
        system = AtomsBase.FlexibleSystem(atoms; cell_vectors = cell, periodicity = periodic)
        (; system, case)
    end
end

rows(matrix) = reduce(vcat, [Float64.(row)' for row in matrix])

function test_predictions(student)
    for (system, case) in cases()
        found = AtomsCalculators.energy_forces_virial(system, student)
        @test ustrip(u"eV", found.energy) ≈ case["energy"] atol = 1e-10
        forces = reduce(vcat, [ustrip.(u"eV/Å", force)' for force in found.forces])
        @test forces ≈ rows(case["forces"]) atol = 1e-10
        @test ustrip.(u"eV", found.virial) ≈ rows(case["virial"]) atol = 1e-9
    end
end

@testset "a student gives the native engine's numbers" begin
    test_predictions(DistillACE.load(STUDENT))
end

@testset "a student is a calculator of AtomsCalculators" begin
    student = DistillACE.load(STUDENT)
    system = first(cases()).system
    found = AtomsCalculators.energy_forces_virial(system, student)
    @test AtomsCalculators.potential_energy(system, student) == found.energy
    @test AtomsCalculators.forces(system, student) == found.forces
    @test AtomsCalculators.virial(system, student) == found.virial
    @test AtomsCalculators.calculate(AtomsCalculators.Energy(), system, student).energy ==
        found.energy
    @test AtomsCalculators.calculate(AtomsCalculators.Forces(), system, student).forces ==
        found.forces
    added = copy(found.forces)
    buffers = (; virial = zeros(3, 3) * u"eV")
    AtomsCalculators.forces!(added, system, student; needs_vir = true, buffers, step_n = 1)
    # Of vectors of vectors with units isapprox compares with a 0 that has none.
    @test all(isapprox.(added, 2 .* found.forces))
    @test buffers.virial ≈ found.virial
    stranger = AtomsBase.FlexibleSystem(
        [AtomsBase.Atom(:Al, SVector(0.0, 0.0, 0.0) * u"Å")];
        cell_vectors = Tuple(AtomsBase.cell_vectors(system)),
        periodicity = (true, true, true),
    )
    @test_throws "knows the atomic numbers" AtomsCalculators.potential_energy(stranger, student)
end

@testset "forces are minus the gradient of the energy" begin
    student = DistillACE.load(STUDENT)
    species, step = [1, 2, 2], 1e-5
    positions = [SVector(0.0, 0.0, 0.0), SVector(0.3, 1.4, 0.2), SVector(1.2, -0.3, 0.5)]
    cell = fill(SVector(0.0, 0.0, 0.0), 3)
    function energy(moved)
        neighbours = DistillACE.Students.neighbours_within(3.6, moved, cell, (false, false, false))
        return sum(DistillACE.Students.energies_and_forces(student, species, neighbours)[1])
    end
    neighbours = DistillACE.Students.neighbours_within(3.6, positions, cell, (false, false, false))
    forces = DistillACE.Students.energies_and_forces(student, species, neighbours)[2]
    for i in 1:3, k in 1:3
        shift(sign) = [j == i ? r + sign * step * SVector(ntuple(a -> a == k, 3)) : r for (j, r) in
                       enumerate(positions)]
        @test -(energy(shift(1)) - energy(shift(-1))) / (2 * step) ≈ forces[i][k] atol = 1e-6
    end
end

@testset "the compiler knows the types of a site" begin
    student = DistillACE.load(STUDENT)
    vectors = [SVector(0.3, 1.4, 0.2), SVector(1.2, -0.3, 0.5)]
    energy, gradients = @inferred DistillACE.Students.site_energy(student, 1, [2, 2], vectors)
    @test energy isa Float64 && length(gradients) == 2
end

@testset "what is no student is refused" begin
    @test_throws "there is no file" DistillACE.load("nothing.npz")
    damaged = tempname() * ".npz"
    data = read(STUDENT)
    write(damaged, data[1:(end - 100)])
    @test_throws "damaged" DistillACE.load(damaged)
    @test_throws "there is no library" DistillACE.load(STUDENT; library = "nothing.so")
end

if haskey(ENV, "DISTILL_ACE_LIBRARY")
    @testset "the shared library gives the same numbers" begin
        # `distill export julia/test/data/student.npz --to lammps -o FILE`, named by DISTILL_ACE_TABLES.
        tables = ENV["DISTILL_ACE_TABLES"]
        student = DistillACE.load(tables)
        test_predictions(student)
        test_predictions(copy(student))
        folder = mktempdir()
        cp(STUDENT, joinpath(folder, "student.npz"))
        cp(tables, joinpath(folder, "student.ace"))
        fast = DistillACE.load(joinpath(folder, "student.npz"))
        @test fast isa DistillACE.Students.LibraryStudent
        close(student)
        close(student)
        @test_throws "is closed" test_predictions(student)
    end
end
