# The C interface of `lammps/include/distill_ace.h`, whose structures these are, field by field.

struct LibraryInput
    n_centres::Int64
    n_all::Int64
    species::Ptr{Cint}
    first::Ptr{Int64}
    neighbours::Ptr{Cint}
    positions::Ptr{Cdouble}
    vectors::Ptr{Cdouble}
end

mutable struct LibraryOutput
    energies::Ptr{Cdouble}
    forces::Ptr{Cdouble}
    virial::NTuple{9, Cdouble}
    atom_virial::Ptr{Cdouble}
    centroid_virial::Ptr{Cdouble}
    grades::Ptr{Cdouble}
    owner::Ptr{Cint}
end

const LIBRARY_ABI = 1
const DOUBLE_PRECISION = 0
"Names the shared library of the C interface."
const LIBRARY_VARIABLE = "DISTILL_ACE_LIBRARY"

"""
A student that the shared library of `distill lammps --build` evaluates, at its speed. One call at a
time goes through a handle; `copy` opens another.
"""
mutable struct LibraryStudent <: LinearPotential
    path::String
    library::String
    functions::NamedTuple
    numbers::Vector{Int}
    cutoff::Float64
    lock::ReentrantLock
    handle::Ptr{Cvoid}
end

"""
    library_named(path)

The shared library: the given one, that of the variable DISTILL_ACE_LIBRARY, or `nothing`.
"""
function library_named(path)
    found = isnothing(path) ? get(ENV, LIBRARY_VARIABLE, "") : String(path)
    isempty(found) && return nothing
    isfile(found) && return found
    return error(
        "there is no library $found, which " *
        (isnothing(path) ? "$LIBRARY_VARIABLE names" : "`library` names") *
        "; `distill lammps --build` says where it puts libdistill_ace",
    )
end

"""
    open_student(path, library)

The student of a file of `distill export student.npz --to lammps`, for the shared library.
"""
function open_student(path, library)
    loaded = Libdl.dlopen(library)
    functions = map(name -> Libdl.dlsym(loaded, Symbol(:distill_ace_, name)), (;
        abi = :abi, open = :open, close = :close, evaluate = :evaluate, error = :error,
        elements = :elements, atomic_number = :atomic_number, cutoff = :cutoff,
    ))
    abi = @ccall $(functions.abi)()::Cint
    abi == LIBRARY_ABI ||
        error("$library has interface $abi, expected $LIBRARY_ABI: build it with this distill")
    reason = zeros(UInt8, 1024)
    handle = @ccall $(functions.open)(
        path::Cstring, DOUBLE_PRECISION::Cint, reason::Ptr{UInt8}, length(reason)::Csize_t
    )::Ptr{Cvoid}
    handle == C_NULL && error(GC.@preserve reason unsafe_string(pointer(reason)))
    count = @ccall $(functions.elements)(handle::Ptr{Cvoid})::Cint
    numbers = [
        Int(@ccall $(functions.atomic_number)(handle::Ptr{Cvoid}, k::Cint)::Cint) for
        k in 0:(count - 1)
    ]
    cutoff = @ccall $(functions.cutoff)(handle::Ptr{Cvoid})::Cdouble
    student = LibraryStudent(
        path, library, functions, numbers, cutoff, ReentrantLock(), handle
    )
    return finalizer(release, student)
end

Base.copy(student::LibraryStudent) = open_student(student.path, student.library)

"""
    close(student)

Give back the library's memory of a student, after the call that another thread may be in.
"""
Base.close(student::LibraryStudent) = lock(() -> release(student), student.lock)

# As a finalizer too, which may not wait for a lock, and where no call can be under way.
function release(student)
    handle, student.handle = student.handle, C_NULL
    handle == C_NULL || @ccall $(student.functions.close)(handle::Ptr{Cvoid})::Cvoid
    return nothing
end

cutoff_of(student::LibraryStudent) = student.cutoff

function energies_and_forces(student::LibraryStudent, species, neighbours)
    n = length(species)
    kinds, atoms = Cint.(species .- 1), Cint.(neighbours.atoms .- 1)
    first, vectors = Int64.(neighbours.first .- 1), neighbours.vectors
    energies, forces = zeros(n), zeros(SVector{3, Float64}, n)
    virial = lock(student.lock) do
        student.handle == C_NULL && error("the student of $(student.path) is closed")
        GC.@preserve student kinds atoms first vectors energies forces begin
            input = LibraryInput(
                n, n, pointer(kinds), pointer(first), pointer(atoms), C_NULL,
                Ptr{Cdouble}(pointer(vectors)),
            )
            output = LibraryOutput(
                pointer(energies), Ptr{Cdouble}(pointer(forces)), ntuple(_ -> 0.0, 9),
                C_NULL, C_NULL, C_NULL, C_NULL,
            )
            code = @ccall $(student.functions.evaluate)(
                student.handle::Ptr{Cvoid}, Ref(input)::Ref{LibraryInput},
                output::Ref{LibraryOutput}, 1::Cint
            )::Cint
            code == 0 || error(last_error(student))
            output.virial
        end
    end
    # Rows first there, columns first here: -Σ gradient ⊗ vector of either kind of student.
    return energies, forces, SMatrix{3, 3, Float64}(virial)
end

function last_error(student)
    return unsafe_string(@ccall $(student.functions.error)(student.handle::Ptr{Cvoid})::Cstring)
end
