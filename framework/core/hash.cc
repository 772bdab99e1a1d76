#include "framework/core/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <array>
#include <fstream>

#include "framework/core/error.h"

namespace fern {

namespace {

std::string hex_of(XXH128_hash_t hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

}  // namespace

uint64_t xxh64(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

std::string xxh128_hex(const void* data, size_t bytes) { return hex_of(XXH3_128bits(data, bytes)); }

struct Xxh128::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Xxh128::Xxh128() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->xxh); }
Xxh128::~Xxh128() = default;
void Xxh128::update(const void* data, size_t bytes) { XXH3_128bits_update(state_->xxh, data, bytes); }
std::string Xxh128::hex() const { return hex_of(XXH3_128bits_digest(state_->xxh)); }

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
}
Sha256::~Sha256() = default;
void Sha256::update(const void* data, size_t bytes) { EVP_DigestUpdate(state_->context, data, bytes); }

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  EVP_DigestFinal_ex(state_->context, digest.data(), &length);
  std::string text;
  for (unsigned int i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

std::string sha256_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail_errno(fmt::format("cannot read {}", path.string()));
  Sha256 hash;
  std::array<char, 1 << 16> block;
  while (file.read(block.data(), block.size()) || file.gcount() > 0)
    hash.update(block.data(), static_cast<size_t>(file.gcount()));
  if (file.bad()) fail_errno(fmt::format("cannot read {}", path.string()));
  return hash.hex();
}

}  // namespace fern
