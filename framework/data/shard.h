// A shard: the packed sequences of one language and source, in one HDF5 file (format.md beside this header is
// the byte-level page). Packing happens when a shard is written, so reading is stateless.
//
// Letters: S sequences, D documents, N tokens, B bytes of original text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fern {

inline constexpr int kShardFormat = 1;

// What a shard says of itself.
struct ShardHeader {
  std::string language;          // BCP 47
  std::string source;            // where the text is from: "gettext", "mediawiki", ...
  std::string split;             // "train", "valid" or "test"
  std::string tokenizer_sha256;  // of tokenizer.model
  int64_t vocabulary = 0;        // pieces of that tokenizer
  int64_t context = 0;           // most tokens in one packed sequence
};

// One document as it goes in. `tokens` holds at most `context` tokens; tokens[i] is a target exactly when
// loss[i] is 1 (loss[0] is 0: the first token has nothing before it). `text` is the original UTF-8;
// `loss_bytes` is how many of its bytes the loss tokens stand for: bits per byte divides by it.
struct Document {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> loss;
  std::string text;
  int64_t loss_bytes = 0;
};

// Collects documents, packs them (first-fit decreasing within a window, deterministic), writes path.tmp,
// fsyncs and renames: a half-written shard never bears its final name. Holds all its documents in memory
// until then: 5 bytes a token and the text, and half as much again while writing.
class ShardWriter {
 public:
  // Makes the folder. Errors: it cannot be made.
  ShardWriter(std::filesystem::path path, ShardHeader header);
  ~ShardWriter();
  // Errors: more tokens than the context, none, ids outside the vocabulary, loss of another length, text that
  // is not UTF-8, loss_bytes outside it. Each names the shard and the document's number.
  void add(Document document);
  // Packs and writes. Errors: disk full or not writable (nothing is left behind), no document at all.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One packed sequence: documents back to back, at most `context` tokens. Views into the mapped file.
struct PackedSequence {
  std::span<const int32_t> tokens;            // n tokens
  std::span<const uint8_t> loss;              // n; 1 where the token is a target
  std::span<const int64_t> document_offsets;  // documents + 1 offsets into the shard's token array; the first
                                              // is the sequence's own start there
  std::span<const int64_t> document_loss_bytes;  // one per document
};

// What one packed sequence adds to a batch's counts, found without reading its tokens.
struct SequenceCounts {
  int64_t tokens = 0;
  int64_t loss_tokens = 0;     // tokens that are targets
  int64_t loss_documents = 0;  // documents with at least one target
  int64_t bytes = 0;           // original UTF-8 bytes of its documents
};

// A memory-mapped shard. Opening checks the header, the sizes and that every offset is in range; verify()
// reads all.
class Shard {
 public:
  // Errors: missing, truncated, not a shard, a newer format; each names the path and what to do.
  explicit Shard(const std::filesystem::path& path);
  ~Shard();
  Shard(Shard&&) noexcept;
  Shard& operator=(Shard&&) noexcept;

  const std::filesystem::path& path() const;
  const ShardHeader& header() const;
  int64_t sequences() const;
  int64_t documents() const;
  int64_t tokens() const;  // N, padding not counted
  int64_t loss_tokens() const;
  int64_t bytes() const;       // B, original UTF-8 bytes of all documents
  int64_t loss_bytes() const;  // the part of B that loss tokens stand for

  // REQUIRES 0 <= index < sequences(). Valid while the shard lives.
  PackedSequence sequence(int64_t index) const;
  SequenceCounts sequence_counts(int64_t index) const;
  // Documents are numbered through the shard. REQUIRES 0 <= index < documents().
  std::string_view document_text(int64_t index) const;
  // Gives up the mapped pages that reading touched, so that they no longer count to this process. Views stay
  // valid: pages come back when touched.
  void forget_pages() const;
  // First document of a sequence; sequence(i) holds [first_document(i), first_document(i + 1)).
  int64_t first_document(int64_t sequence) const;

  // Reads every byte against the stored hashes, and leaves none of them resident. Errors: the dataset that
  // differs.
  void verify() const;
  // Fails unless this shard was made with that tokenizer and fits that context, saying which shard and what
  // to run.
  void expect_made_with(std::string_view tokenizer_sha256, int64_t context) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fern
