# Largest difference, relative, of the two files of one student on a few atoms.
const SAME_STUDENT = 1e-9

"""
    load_student(path, library)

The student of `student.npz`, evaluated by the shared library where that is there and `student.ace`
of the same student lies beside the file, and in Julia otherwise.
"""
function load_student(path, library)
    student = read_student(path)
    found = library_named(library)
    isnothing(found) && return student
    tables = chopsuffix(path, ".npz") * ".ace"
    if !isfile(tables)
        isnothing(library) && return student
        error("the library takes $tables: distill export $path --to lammps -o $tables")
    end
    fast = open_student(tables, found)
    check_same(student, fast, path, tables)
    return fast
end

"""
    load_tables(path, library)

The student of `student.ace`, which the shared library alone can read.
"""
function load_tables(path, library)
    found = library_named(library)
    isnothing(found) && error(
        "$path is for the shared library: give `library`, or set $LIBRARY_VARIABLE to " *
        "libdistill_ace, which `distill lammps --build` makes",
    )
    return open_student(path, found)
end

function check_same(student, fast, path, tables)
    known = student.numbers == fast.numbers
    if known
        species = repeat(eachindex(student.numbers), 3)
        distance = 0.3 * cutoff_of(student)
        positions = [distance * SVector(k, sin(2k), cos(3k)) for k in 1:length(species)]
        cell = [zero(SVector{3, Float64}) for _ in 1:3]
        neighbours = neighbours_within(
            cutoff_of(student), positions, cell, (false, false, false)
        )
        (one, forces, _), (other, fast_forces, _) =
            energies_and_forces.((student, fast), Ref(species), Ref(neighbours))
        known =
            isapprox(one, other; rtol = SAME_STUDENT) &&
            isapprox(forces, fast_forces; rtol = SAME_STUDENT)
    end
    known || error(
        "$tables is not of the student $path: distill export $path --to lammps -o $tables"
    )
    return nothing
end
