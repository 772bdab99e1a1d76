#include "tokenizer/tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <array>

#include "framework/core/error.h"
#include "framework/core/hash.h"
#include "tokenizer/utf8.h"

namespace fern {
namespace {

// SentencePiece writes a space as this character, so it cannot tell one from the other.
constexpr std::string_view kSpaceSymbol = "\u2581";

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// A private-use character of plane 16; they start at U+100000 and all take four bytes.
std::string private_character(int index) {
  return {'\xf4', static_cast<char>(0x80 + index / 4096), static_cast<char>(0x80 + index / 64 % 64),
          static_cast<char>(0x80 + index % 64)};
}

constexpr int kPrivateCharacters = 65534;

}  // namespace

struct Tokenizer::State {
  sentencepiece::SentencePieceProcessor processor;
  std::filesystem::path path;
  std::string sha256;
  int32_t user = 0, assistant = 0, end = 0;
  std::array<int32_t, 256> bytes{};  // id of each byte's piece
  std::vector<uint8_t> text_bytes;   // of each id

  void load();
  int32_t control_id(std::string_view piece) const;
  uint8_t count_text_bytes(int32_t id) const;
  std::vector<int32_t> encode_plain(std::string_view text) const;
  std::vector<int32_t> encode_with_space_symbol(std::string_view text) const;
  std::vector<int32_t> byte_ids(std::string_view text) const;
};

void Tokenizer::State::load() {
  expect(std::filesystem::is_regular_file(path), "tokenizer {}: no such file; make it with fern prepare",
         path.string());
  const auto status = processor.Load(path.string());
  expect(status.ok(), "tokenizer {}: not a SentencePiece model ({}); make it again with fern prepare",
         path.string(), status.message());
  expect(
      processor.unk_id() == kUnknownId && processor.bos_id() == kBosId && processor.eos_id() == kEosId,
      "tokenizer {}: expected the ids <unk> {}, <s> {}, </s> {}; it has {}, {}, {}. Use a tokenizer made by "
      "fern prepare",
      path.string(), kUnknownId, kBosId, kEosId, processor.unk_id(), processor.bos_id(), processor.eos_id());
  user = control_id(kUserMarker);
  assistant = control_id(kAssistantMarker);
  end = control_id(kEndMarker);
  for (int byte = 0; byte < 256; ++byte) {
    const std::string piece = fmt::format("<0x{:02X}>", byte);
    bytes[byte] = processor.PieceToId(piece);
    expect(processor.IsByte(bytes[byte]),
           "tokenizer {}: has no byte piece {}; expected a model with byte "
           "fallback, as fern prepare makes it",
           path.string(), piece);
  }
  for (int32_t id = 0; id < processor.GetPieceSize(); ++id) text_bytes.push_back(count_text_bytes(id));
  sha256 = sha256_of_file(path);
}

uint8_t Tokenizer::State::count_text_bytes(int32_t id) const {
  if (processor.IsControl(id) || processor.IsUnknown(id)) return 0;
  if (processor.IsByte(id)) return 1;
  std::string piece = processor.IdToPiece(id);
  replace_all(piece, kSpaceSymbol, " ");
  return static_cast<uint8_t>(piece.size());
}

int32_t Tokenizer::State::control_id(std::string_view piece) const {
  const int32_t id = processor.PieceToId(piece);
  expect(processor.IsControl(id),
         "tokenizer {}: expected the control symbol {}, which it does not have; use a tokenizer made by fern "
         "prepare",
         path.string(), piece);
  return id;
}

std::vector<int32_t> Tokenizer::State::encode_plain(std::string_view text) const {
  std::vector<int> ids;
  const auto status = processor.Encode(text, &ids);
  expect(status.ok(), "tokenizer {}: could not encode a text of {} bytes: {}", path.string(), text.size(),
         status.message());
  return ids;
}

std::vector<int32_t> Tokenizer::State::byte_ids(std::string_view text) const {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(bytes[static_cast<uint8_t>(c)]);
  return ids;
}

// A character that is neither in the text nor in the vocabulary stands in for U+2581 and comes out as its own
// bytes, which are then exchanged for those of U+2581.
std::vector<int32_t> Tokenizer::State::encode_with_space_symbol(std::string_view text) const {
  std::string stand_in;
  for (int i = 0; i < kPrivateCharacters && stand_in.empty(); ++i) {
    const std::string candidate = private_character(i);
    if (text.find(candidate) == text.npos && processor.PieceToId(candidate) == kUnknownId)
      stand_in = candidate;
  }
  expect(!stand_in.empty(), "tokenizer {}: a text of {} bytes holds U+2581 and every private-use character",
         path.string(), text.size());
  std::string changed(text);
  replace_all(changed, kSpaceSymbol, stand_in);
  std::vector<int32_t> ids = encode_plain(changed);
  const std::vector<int32_t> from = byte_ids(stand_in), to = byte_ids(kSpaceSymbol);
  std::vector<int32_t> result;
  for (auto at = ids.begin(); at != ids.end();) {
    const auto next = std::search(at, ids.end(), from.begin(), from.end());
    result.insert(result.end(), at, next);
    if (next == ids.end()) break;
    result.insert(result.end(), to.begin(), to.end());
    at = next + static_cast<int64_t>(from.size());
  }
  return result;
}

Tokenizer::Tokenizer(const std::filesystem::path& model) : state_(std::make_unique<State>()) {
  state_->path = model;
  state_->load();
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  if (const auto offset = first_invalid_utf8(text)) {
    fail("tokenizer: expected UTF-8, but a text of {} bytes has an invalid sequence at byte {}", text.size(),
         *offset);
  }
  if (text.find(kSpaceSymbol) != text.npos) return state_->encode_with_space_symbol(text);
  return state_->encode_plain(text);
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  for (const int32_t id : ids) {
    expect(id >= 0 && id < vocabulary(), "tokenizer {}: expected ids in 0..{}, got {}", path().string(),
           vocabulary() - 1, id);
  }
  std::string text;
  const auto status = state_->processor.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
  expect(status.ok(), "tokenizer {}: could not decode {} ids: {}", path().string(), ids.size(),
         status.message());
  return text;
}

std::string Tokenizer::piece(int32_t id) const {
  expect(id >= 0 && id < vocabulary(), "tokenizer {}: expected an id in 0..{}, got {}", path().string(),
         vocabulary() - 1, id);
  return state_->processor.IdToPiece(id);
}

size_t Tokenizer::text_bytes(int32_t id) const { return state_->text_bytes[static_cast<size_t>(id)]; }
int64_t Tokenizer::vocabulary() const { return state_->processor.GetPieceSize(); }
int32_t Tokenizer::user_id() const { return state_->user; }
int32_t Tokenizer::assistant_id() const { return state_->assistant; }
int32_t Tokenizer::end_id() const { return state_->end; }
const std::string& Tokenizer::sha256() const { return state_->sha256; }
const std::filesystem::path& Tokenizer::path() const { return state_->path; }

}  // namespace fern
