# Of a student file (schema and own version), the newest that this package reads.
const SCHEMA_VERSION = 1
const STUDENT_VERSION = 3
const KINDS = (
    "radial_kind" => "spline",
    "pair_radial_kind" => "spline",
    "transform_kind" => "agnesi_normalized",
    "envelope_kind" => "poly2sx",
    "pair_envelope_kind" => "ace1_poly1sr",
    "ybasis_kind" => "real_sphericalharmonics",
)
const CHECKSUM = "distill_sha256"
const OWN_JSON = "distill_json"

"A linear potential that is evaluated structure by structure: `Student` or `LibraryStudent`."
abstract type LinearPotential end

const Grid = @NamedTuple{start::Float64, step::Float64, nodes::Int}

"""
A student, evaluated in Julia. Species count from 1 in the order of `numbers`; a pair is that of
the centre and the neighbour. Lengths are in Å, energies in eV.

`splines` are functions × coefficients; `pair_splines` are those of the pair potential, whose
functions are summed with their coefficients; `weights` are those of the products, by species.
"""
struct Student <: LinearPotential
    numbers::Vector{Int}
    e0::Vector{Float64}
    cutoffs::Matrix{Float64}
    transform::Matrix{NTuple{7, Float64}}
    envelope::Matrix{NTuple{5, Float64}}
    grid::Grid
    splines::Matrix{Matrix{Float64}}
    pair_transform::Matrix{NTuple{7, Float64}}
    pair_envelope::Matrix{NTuple{3, Float64}}
    pair_grid::Grid
    pair_splines::Matrix{Vector{Float64}}
    core::Matrix{NTuple{3, Float64}}
    n_radial::Int
    radial_index::Vector{Int}
    angular_index::Vector{Int}
    largest_l::Int
    norms::Matrix{Float64}
    products::Vector{Matrix{Int}}
    weights::Vector{Vector{Vector{Float64}}}
end

"""
    read_student(path)

The student of a file `student.npz`, checked against its checksum.
"""
function read_student(path)
    entries = read_npz(path)
    haskey(entries, "meta_json") || error("$path is not a student file: it has no meta_json")
    meta = json_of(entries["meta_json"])
    check_file(entries, meta, path)
    arrays = Dict(name => entry.array for (name, entry) in entries)
    numbers = Int.(arrays["elements"])
    n = length(numbers)
    spec = get(meta, "distill_spec", nothing)
    with_core = !isnothing(spec) && spec["zbl"] === true
    largest_l = isqrt(maximum(arrays["aspec_y"]; init = 0))
    products = [
        permutedims(Int.(arrays["aa_spec_$order"])) .+ 1 for order in Int.(meta["aa_orders"])
    ]
    return Student(
        numbers,
        Float64.(arrays["E0"]),
        Float64.(arrays["rcuts"]),
        pair_tuples(Val(7), arrays["rnl_transform"]),
        pair_tuples(Val(5), arrays["rnl_envelope"]),
        grid_of(meta["rnl_spline"]),
        [permutedims(Float64.(arrays["rnl_spline_coefs"][i, j, :, :])) for i in 1:n, j in 1:n],
        pair_tuples(Val(7), arrays["pair_transform"]),
        pair_tuples(Val(3), arrays["pair_envelope"]),
        grid_of(meta["pair_spline"]),
        [arrays["pair_spline_coefs"][i, j, :, :] * arrays["Wpair"][:, i] for i in 1:n, j in 1:n],
        [with_core ? core_parameters(a, b) : (0.0, 1.0, 1.0) for a in numbers, b in numbers],
        size(arrays["rspec"], 1),
        Int.(arrays["aspec_r"]) .+ 1,
        Int.(arrays["aspec_y"]) .+ 1,
        largest_l,
        harmonic_norms(largest_l),
        products,
        [product_weights(arrays, products, i) for i in 1:n],
    )
end

"""
    product_weights(arrays, products, species)

The coefficients of the products for a species, block by block: those of the functions, coupled.
"""
function product_weights(arrays, products, species)
    flat = zeros(sum(block -> size(block, 2), products; init = 0))
    for (row, column, value) in zip(arrays["A2B_rows"], arrays["A2B_cols"], arrays["A2B_vals"])
        flat[column + 1] += value * arrays["WB"][row + 1, species]
    end
    ends = cumsum([size(block, 2) for block in products])
    return [flat[(ends[k] - size(products[k], 2) + 1):ends[k]] for k in eachindex(products)]
end

function pair_tuples(::Val{N}, table) where {N}
    n = size(table, 1)
    return [ntuple(k -> Float64(table[i, j, k]), Val(N)) for i in 1:n, j in 1:n]
end

grid_of(meta) = (start = Float64(meta["x0"]), step = Float64(meta["h"]), nodes = Int(meta["n"]))

json_of(entry) = JSON.parse(String(UInt8.(entry.array)))

"""
    check_file(entries, meta, path)

Refuse a file of a newer version, of another kind of basis, or with another checksum than its own.
"""
function check_file(entries, meta, path)
    own = haskey(entries, OWN_JSON) ? json_of(entries[OWN_JSON]) : Dict("version" => 1)
    for (what, found, known) in (
        ("schema version", meta["schema_version"], SCHEMA_VERSION),
        ("version", get(own, "version", 1), STUDENT_VERSION),
    )
        found <= known ||
            error("$path has $what $found; this package reads up to $known: update DistillACE")
    end
    for (key, expected) in KINDS
        found = get(meta, key, expected)
        found == expected || error("$path: expected $key '$expected', found '$found'")
    end
    if haskey(entries, CHECKSUM)
        checksum(entries) == UInt8.(entries[CHECKSUM].array) ||
            damaged(path, "its checksum is not that of its contents")
    elseif get(own, "version", 1) > 1
        damaged(path, "its checksum is missing")
    end
    return nothing
end

"""
    checksum(entries)

SHA-256 over the names, types, shapes and numbers of all entries but the checksum itself, by name.
"""
function checksum(entries)
    context = SHA.SHA2_256_CTX()
    for name in sort!(collect(keys(entries)))
        name == CHECKSUM && continue
        entry = entries[name]
        SHA.update!(context, codeunits("$name $(entry.type) $(entry.shape)"))
        SHA.update!(context, entry.bytes)
    end
    return SHA.digest!(context)
end

cutoff_of(student::Student) = maximum(student.cutoffs)

"""
    energies_and_forces(student, species, neighbours)

Energies of the sites (eV), forces (eV/Å) and the virial (eV).
"""
function energies_and_forces(student::Student, species, neighbours)
    energies = zeros(length(species))
    forces = zeros(SVector{3, Float64}, length(species))
    virial = zeros(SMatrix{3, 3, Float64})
    for i in eachindex(species)
        entries = neighbours.first[i]:(neighbours.first[i + 1] - 1)
        atoms, vectors = neighbours.atoms[entries], neighbours.vectors[entries]
        energies[i], gradients = site_energy(student, species[i], species[atoms], vectors)
        virial += add_site!(forces, i, atoms, vectors, gradients)
    end
    return energies, forces, virial
end
