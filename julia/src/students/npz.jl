# Reading `.npz`: a zip archive (PKWARE's APPNOTE) of arrays in NumPy's format, stored or deflated.
# zlib comes with Julia, so that nothing has to be installed for it.

const DIRECTORY_END = 0x06054b50
const DIRECTORY_ENTRY = 0x02014b50
# The comment behind the end of the directory is no longer.
const LONGEST_END = 22 + 65535
const STORED, DEFLATED = 0, 8
const NUMBERS = Dict(
    "<f8" => Float64,
    "<f4" => Float32,
    "<i8" => Int64,
    "<i4" => Int32,
    "<i2" => Int16,
    "|i1" => Int8,
    "|u1" => UInt8,
)

"""
    read_npz(path)

The arrays of an `.npz` file by name, with NumPy's shapes, and the bytes of each in NumPy's order
with its type and shape as NumPy writes them: a dictionary of `(; array, type, shape, bytes)`.
"""
function read_npz(path)
    data = read(path)
    return Dict(
        String(chopsuffix(name, ".npy")) => npy_array(bytes, name) for
        (name, bytes) in zip_entries(data, path)
    )
end

function zip_entries(data, path)
    start, count = zip_directory(data, path)
    entries = Pair{String, Vector{UInt8}}[]
    for _ in 1:count
        number(data, start, UInt32) == DIRECTORY_ENTRY || damaged(path, "its directory ends early")
        method = number(data, start + 10, UInt16)
        check = number(data, start + 16, UInt32)
        packed, whole = Int.(number.(Ref(data), start .+ (20, 24), UInt32))
        name_length, extra, comment = Int.(number.(Ref(data), start .+ (28, 30, 32), UInt16))
        header = Int(number(data, start + 42, UInt32))
        name = String(data[(start + 47):(start + 46 + name_length)])
        lengths = number.(Ref(data), header .+ (26, 28), UInt16)
        first = header + 30 + sum(Int, lengths)
        first + packed <= length(data) || damaged(path, "$name is cut short")
        bytes = unpacked(data[(first + 1):(first + packed)], whole, method, name)
        crc32(bytes) == check || damaged(path, "$name has another checksum than the archive says")
        push!(entries, name => bytes)
        start += 46 + name_length + extra + comment
    end
    return entries
end

"""
    zip_directory(data, path)

Where the directory of a zip archive begins, counted from 0, and how many entries it has.
"""
function zip_directory(data, path)
    for at in (length(data) - 22):-1:max(0, length(data) - LONGEST_END)
        if number(data, at, UInt32) == DIRECTORY_END
            return Int(number(data, at + 16, UInt32)), Int(number(data, at + 10, UInt16))
        end
    end
    return damaged(path, "it is no zip archive, or is cut short")
end

"""
    number(data, at, T)

The little-endian number of type `T` whose first byte is `at`, counted from 0.
"""
function number(data, at, ::Type{T}) where {T}
    at + sizeof(T) <= length(data) || error("a zip archive is cut short")
    return ltoh(only(reinterpret(T, data[(at + 1):(at + sizeof(T))])))
end

function unpacked(packed, size, method, name)
    if method == STORED
        return packed
    end
    method == DEFLATED || error("$name is packed by method $method, which is not known")
    return inflate(packed, size, name)
end

# zlib's z_stream (zlib.h).
mutable struct ZStream
    next_in::Ptr{UInt8}
    avail_in::Cuint
    total_in::Culong
    next_out::Ptr{UInt8}
    avail_out::Cuint
    total_out::Culong
    msg::Ptr{UInt8}
    state::Ptr{Cvoid}
    zalloc::Ptr{Cvoid}
    zfree::Ptr{Cvoid}
    opaque::Ptr{Cvoid}
    data_type::Cint
    adler::Culong
    reserved::Culong
end

# Of zlib.h: no header before the deflated bytes, all at once, and all done.
const RAW_DEFLATE = -15
const FINISH = 4
const STREAM_END = 1

function inflate(packed, size, name)
    out = zeros(UInt8, size)
    code = GC.@preserve packed out begin
        stream = ZStream(
            pointer(packed), length(packed), 0, pointer(out), size, 0,
            C_NULL, C_NULL, C_NULL, C_NULL, C_NULL, 0, 0, 0,
        )
        version = @ccall libz.zlibVersion()::Cstring
        begun = @ccall libz.inflateInit2_(
            stream::Ref{ZStream}, RAW_DEFLATE::Cint, version::Cstring, sizeof(ZStream)::Cint
        )::Cint
        begun == 0 || error("zlib does not start: it says $begun")
        result = @ccall libz.inflate(stream::Ref{ZStream}, FINISH::Cint)::Cint
        @ccall libz.inflateEnd(stream::Ref{ZStream})::Cint
        result
    end
    code == STREAM_END || error("$name cannot be unpacked: zlib says $code")
    return out
end

crc32(bytes) = @ccall libz.crc32(0::Culong, bytes::Ptr{UInt8}, length(bytes)::Cuint)::Culong

"""
    npy_array(bytes, name)

The array in the bytes of a `.npy` file, versions 1 and 2.
"""
function npy_array(bytes, name)
    bytes[1:6] == [0x93; codeunits("NUMPY")] || error("$name is no array of NumPy")
    wide = bytes[7] > 1
    length_of_header = Int(number(bytes, 8, wide ? UInt32 : UInt16))
    start = (wide ? 12 : 10) + length_of_header
    header = String(bytes[(wide ? 13 : 11):start])
    type = captured(r"'descr':\s*'([^']*)'", header, name)
    shape = captured(r"'shape':\s*(\([^)]*\))", header, name)
    columns_first = captured(r"'fortran_order':\s*(True|False)", header, name) == "True"
    haskey(NUMBERS, type) || error("$name holds numbers of type $type, which is not known")
    sizes = Tuple(parse(Int, digits.match) for digits in eachmatch(r"\d+", shape))
    numbers = collect(reinterpret(NUMBERS[type], bytes[(start + 1):end]))
    length(numbers) == prod(sizes; init = 1) || error("$name is cut short")
    array = if columns_first
        reshape(numbers, sizes)
    else
        permutedims(reshape(numbers, reverse(sizes)), length(sizes):-1:1)
    end
    rows_first = columns_first ? permutedims(array, length(sizes):-1:1) : numbers
    return (; array, type, shape, bytes = collect(reinterpret(UInt8, vec(rows_first))))
end

function captured(pattern, header, name)
    found = match(pattern, header)
    isnothing(found) && error("$name is no array of NumPy: its header is $header")
    return String(found[1])
end

damaged(path, why) = error("$path is damaged: $why; copy it again")
