"""
    versions()

Versions of Julia and of the packages that a fit depends on, and Julia's number of threads.
"""
function versions()
    return Dict{String, Any}(
        "julia" => string(VERSION),
        "ACEpotentials" => string(pkgversion(ACEpotentials)),
        "ACEfit" => string(pkgversion(ACEfit)),
        "EquivariantTensors" => string(pkgversion(EquivariantTensors)),
        "threads" => Threads.nthreads(),
    )
end

"""
    save(model, path)

Write a model as ACEpotentials does (JSON). The arguments of `build_model` and the committee,
which ACEpotentials leaves out, go under `meta`.
"""
function save(model, path)
    meta = Dict{String, Any}("distill" => model.model.meta[ARGUMENTS])
    if !isnothing(model.co_ps)
        meta["committee"] = flat.(model.co_ps)
    end
    ACEpotentials.save_model(
        model,
        String(path);
        model_spec = with_text_keys(model.model.meta["model_spec"]),
        meta = meta,
        save_project = false,
        verbose = false,
    )
    return nothing
end

"""
    set_parameters!(model; parameters, committee = nothing)

Give a model its coefficients: those of the many-body functions of each species, then those of the
pair functions of each. `committee` is draws × functions.
"""
function set_parameters!(model; parameters, committee = nothing)
    M.set_parameters!(model, Vector{Float64}(parameters))
    if !isnothing(committee)
        M.set_committee!(model, [Vector{Float64}(θ) for θ in eachrow(Matrix{Float64}(committee))])
    end
    return nothing
end

"""
    load(path; library = nothing)

A potential from its file, as a calculator of AtomsCalculators.

| file | what it is | who evaluates it |
|:---- |:---------- |:---------------- |
| `student.npz` | a student of distill | Julia; or `library`, if `student.ace` lies beside it |
| `student.ace` | its tables, `distill export --to lammps` | `library` |
| `model.json` | written by `save`, or by ACEpotentials' own `save_model` | ACEpotentials |

`library` is libdistill_ace, which `distill lammps --build` makes; if it is not given, that of the
variable DISTILL_ACE_LIBRARY.

Unlike `load_model`, a file of `save` may hold degrees that are not whole, cutoffs and bond lengths
by pair, and a committee.
"""
function load(path; library = nothing)
    name = String(path)
    isfile(name) || error("there is no file $name")
    endswith(name, ".npz") && return load_student(name, library)
    endswith(name, ".ace") && return load_tables(name, library)
    return load_model(name)
end

function load_model(path)
    file = JSON.parsefile(path)
    for key in ("model_spec", "model_parameters")
        file isa AbstractDict && haskey(file, key) ||
            error("$path is no model of ACEpotentials: it has no $key")
    end
    meta = get(file, "meta", Dict{String, Any}())
    if !haskey(meta, "distill")
        model = first(ACEpotentials.load_model(path))
        check_cutoffs(model)
        return model
    end
    model = build_model(; arguments(meta["distill"])...)
    M.set_parameters!(model, Vector{Float64}(file["model_parameters"]))
    if haskey(meta, "committee")
        M.set_committee!(model, [Vector{Float64}(θ) for θ in meta["committee"]])
    end
    return model
end

function arguments(saved)
    found = Dict{Symbol, Any}(Symbol(key) => value for (key, value) in saved)
    found[:rcut] = matrix_of(found[:rcut])
    isnothing(found[:r0]) || (found[:r0] = matrix_of(found[:r0]))
    return found
end

matrix_of(rows) = [Float64(row[j]) for row in rows, j in eachindex(first(rows))]

"""
    with_text_keys(spec)

The model specification with the pairs of species in its tables named as text, as JSON needs.
"""
with_text_keys(spec::AbstractDict) =
    Dict{String, Any}(String(key) => text_keys(value) for (key, value) in spec)

text_keys(value) = value
text_keys(table::AbstractDict) =
    Dict{String, Any}(pair_name(key) => value for (key, value) in table)

pair_name(key) = String(key)
pair_name(pair::Tuple) = join(pair, "-")
