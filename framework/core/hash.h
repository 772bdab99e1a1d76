// Two hashes: XXH3-128 for "did these bytes change", SHA-256 for "is this the same tokenizer or token
// stream".
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace fern {

// XXH3-64: a key for tables and for random numbers that depend on text.
uint64_t xxh64(std::string_view text);

// 32 hexadecimal digits of XXH3-128.
std::string xxh128_hex(const void* data, size_t bytes);

// A running hash; update as often as needed, then hex() once.
class Xxh128 {
 public:
  Xxh128();
  ~Xxh128();
  void update(const void* data, size_t bytes);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(const void* data, size_t bytes);
  std::string hex();  // 64 digits; ends the hash

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// SHA-256 of a file's bytes. Errors: it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace fern
