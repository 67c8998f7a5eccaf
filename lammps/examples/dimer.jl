# Energy and force of a dimer by ccall: julia dimer.jl LIBRARY STUDENT.ace DISTANCE
#
# The structures are those of distill_ace.h, field by field.

using Libdl

struct Input
    n_centres::Int64
    n_all::Int64
    species::Ptr{Cint}
    first::Ptr{Int64}
    neighbours::Ptr{Cint}
    positions::Ptr{Cdouble}
    vectors::Ptr{Cdouble}
end

mutable struct Output
    energies::Ptr{Cdouble}
    forces::Ptr{Cdouble}
    virial::NTuple{9,Cdouble}
    atom_virial::Ptr{Cdouble}
    centroid_virial::Ptr{Cdouble}
    grades::Ptr{Cdouble}
    owner::Ptr{Cint}
end

function open_student(library, path)
    reason = zeros(UInt8, 1024)
    handle = @ccall $(library.open)(
        path::Cstring, 0::Cint, reason::Ptr{UInt8}, length(reason)::Csize_t
    )::Ptr{Cvoid}
    handle == C_NULL && error(unsafe_string(pointer(reason)))
    return handle
end

function main(path, student, distance)
    loaded = Libdl.dlopen(path)
    symbol(name) = Libdl.dlsym(loaded, name)
    library = (
        open = symbol(:distill_ace_open),
        evaluate = symbol(:distill_ace_evaluate),
        error = symbol(:distill_ace_error),
        close = symbol(:distill_ace_close),
    )
    handle = open_student(library, student)
    species, neighbours = Cint[0, 0], Cint[1, 0]
    first = Int64[0, 1, 2]
    positions = [0.0 distance; 0.0 0.0; 0.0 0.0]
    energies, forces = zeros(2), zeros(3, 2)
    GC.@preserve species neighbours first positions energies forces begin
        input = Input(2, 2, pointer(species), pointer(first), pointer(neighbours),
                      pointer(positions), C_NULL)
        output = Output(pointer(energies), pointer(forces), ntuple(_ -> 0.0, 9),
                        C_NULL, C_NULL, C_NULL, C_NULL)
        code = @ccall $(library.evaluate)(
            handle::Ptr{Cvoid}, Ref(input)::Ref{Input}, output::Ref{Output}, 1::Cint
        )::Cint
        if code != 0
            error(unsafe_string(@ccall $(library.error)(handle::Ptr{Cvoid})::Cstring))
        end
    end
    println("energy ", sum(energies), " eV force ", forces[1, 2], " eV/Å")
    @ccall $(library.close)(handle::Ptr{Cvoid})::Cvoid
end

main(ARGS[1], ARGS[2], parse(Float64, ARGS[3]))
