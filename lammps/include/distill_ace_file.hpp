// The file that `distill export --to lammps` writes: named arrays behind a header with their SHA-256.
//
//   header   "DISTACE\n", version, byte-order mark 0x01020304 (both uint32), size of the file,
//            number of arrays (both uint64), SHA-256 of all that follows: 64 bytes
//   array    name (24 bytes), type, number of lengths (both uint32), four lengths (uint64); then
//            the numbers, padded to 64 bytes

#ifndef DISTILL_ACE_FILE_HPP
#define DISTILL_ACE_FILE_HPP

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace distill {

constexpr uint32_t FILE_VERSION = 2;

// FIPS 180-4.
inline std::array<uint8_t, 32> sha256(const uint8_t *data, size_t size) {
  static const uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  auto turn = [](uint32_t x, int n) { return (x >> n) | (x << (32 - n)); };
  auto block = [&](const uint8_t *p) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
      w[i] = uint32_t(p[4 * i]) << 24 | uint32_t(p[4 * i + 1]) << 16 | uint32_t(p[4 * i + 2]) << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++)
      w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ (w[i - 15] >> 3)) +
             (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ (w[i - 2] >> 10));
    std::memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
      const uint32_t a = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
                         k[i] + w[i];
      const uint32_t b = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
                         ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
      for (int n = 7; n > 0; n--) s[n] = s[n - 1];
      s[4] += a;
      s[0] = a + b;
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
  };
  size_t at = 0;
  for (; at + 64 <= size; at += 64) block(data + at);
  uint8_t tail[128] = {};
  std::memcpy(tail, data + at, size - at);
  tail[size - at] = 0x80;
  const size_t length = size - at < 56 ? 64 : 128;
  for (int i = 0; i < 8; i++) tail[length - 1 - i] = uint8_t(uint64_t(size) * 8 >> (8 * i));
  block(tail);
  if (length == 128) block(tail + 64);
  std::array<uint8_t, 32> digest;
  for (int i = 0; i < 32; i++) digest[i] = uint8_t(h[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

// The arrays of a file; every number in them is finite.
class ModelFile {
 public:
  explicit ModelFile(const std::string &path) : path_(path) {
    std::FILE *file = std::fopen(path.c_str(), "rb");
    if (!file)
      throw std::runtime_error("cannot read " + path + ": there is no such file, or it may not be read; make it with "
                               "'distill export student.npz --to lammps -o " + path + "'");
    std::vector<uint8_t> chunk(1 << 20);
    for (size_t n; (n = std::fread(chunk.data(), 1, chunk.size(), file)) > 0;)
      bytes_.insert(bytes_.end(), chunk.begin(), chunk.begin() + n);
    const bool failed = std::ferror(file);
    std::fclose(file);
    if (failed) damaged("it cannot be read to its end");
    parse();
  }

  [[noreturn]] void damaged(const std::string &why) const {
    throw std::runtime_error(path_ + " is damaged (" + why + "); write it again with 'distill export --to lammps'");
  }

  bool has(const std::string &name) const { return arrays_.count(name) > 0; }

  // A whole array; each number between low and high, where these differ.
  std::vector<int32_t> whole(const std::string &name, size_t count, int64_t low, int64_t high) const {
    return checked<int32_t>(name, count, low, high);
  }
  std::vector<int64_t> long_whole(const std::string &name, size_t count, int64_t low, int64_t high) const {
    return checked<int64_t>(name, count, low, high);
  }
  std::vector<double> real(const std::string &name, size_t count) const {
    std::vector<double> values = read<double>(name, 3, count);
    for (double value : values)
      if (!std::isfinite(value)) damaged(name + " has numbers that are not finite");
    return values;
  }
  size_t length(const std::string &name) const { return find(name).count; }

 private:
  struct Entry {
    uint32_t type;
    size_t count, start;
  };
  std::string path_;
  std::vector<uint8_t> bytes_;
  std::map<std::string, Entry> arrays_;

  template <class N>
  N number(size_t at) const {
    N value;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }

  void parse() {
    if (bytes_.size() < 64 || std::memcmp(bytes_.data(), "DISTACE\n", 8) != 0)
      throw std::runtime_error(path_ + " is not a student for LAMMPS; make one with 'distill export student.npz --to "
                               "lammps'");
    if (number<uint32_t>(12) != 0x01020304) damaged("its byte order is not this machine's");
    if (number<uint32_t>(8) != FILE_VERSION)
      throw std::runtime_error(path_ + " has version " + std::to_string(number<uint32_t>(8)) +
                               ", this program reads version " + std::to_string(FILE_VERSION) +
                               "; export the student again with the distill that this program comes from");
    if (number<uint64_t>(16) != bytes_.size())
      damaged("it has " + std::to_string(bytes_.size()) + " bytes and should have " +
              std::to_string(number<uint64_t>(16)));
    const auto digest = sha256(bytes_.data() + 64, bytes_.size() - 64);
    if (std::memcmp(digest.data(), bytes_.data() + 32, 32) != 0) damaged("its checksum is not that of its contents");
    size_t at = 64;
    for (uint64_t n = 0; n < number<uint64_t>(24); n++) {
      if (at + 64 > bytes_.size()) damaged("an array is missing");
      static const size_t sizes[4] = {1, 4, 8, 8};
      const uint32_t type = number<uint32_t>(at + 24), lengths = number<uint32_t>(at + 28);
      if (type > 3 || lengths > 4) damaged("an array is of an unknown type");
      uint64_t count = 1;
      for (uint32_t k = 0; k < lengths; k++) {
        const uint64_t length = number<uint64_t>(at + 32 + 8 * k);
        if (length > bytes_.size()) damaged("an array is longer than the file");
        count *= length;
        if (count > bytes_.size()) damaged("an array is longer than the file");
      }
      const char *name = reinterpret_cast<const char *>(bytes_.data() + at);
      arrays_[std::string(name, strnlen(name, 24))] = {type, size_t(count), at + 64};
      at += 64 + (count * sizes[type] + 63) / 64 * 64;
      if (at > bytes_.size()) damaged("an array is longer than the file");
    }
  }

  const Entry &find(const std::string &name) const {
    auto found = arrays_.find(name);
    if (found == arrays_.end()) damaged("it has no array " + name);
    return found->second;
  }

  template <class N>
  std::vector<N> read(const std::string &name, uint32_t type, size_t count) const {
    const Entry &entry = find(name);
    if (entry.type != type || entry.count != count)
      damaged(name + " has " + std::to_string(entry.count) + " numbers of type " + std::to_string(entry.type) +
              ", expected " + std::to_string(count) + " of type " + std::to_string(type));
    std::vector<N> values(count);
    if (count) std::memcpy(values.data(), bytes_.data() + entry.start, count * sizeof(N));
    return values;
  }

  template <class N>
  std::vector<N> checked(const std::string &name, size_t count, int64_t low, int64_t high) const {
    std::vector<N> values = read<N>(name, sizeof(N) == 4 ? 1 : 2, count);
    for (N value : values)
      if (value < low || value > high)
        damaged(name + " has the number " + std::to_string(value) + ", expected " + std::to_string(low) + " to " +
                std::to_string(high));
    return values;
  }
};

}  // namespace distill

#endif
