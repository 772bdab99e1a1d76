#include "framework/data/shard.h"

#include <algorithm>
#include <numeric>

#include "framework/core/error.h"
#include "framework/core/hash.h"
#include "framework/core/hdf5_file.h"
#include "framework/core/mapped_file.h"
#include "framework/data/shard_format.h"

namespace fern {

using namespace shard_format;

namespace {

constexpr char kRemedy[] = "remove it and run fern prepare again";

ShardHeader read_header(const Hdf5File& file) {
  const std::string path = file.path().string();
  const bool is_shard =
      file.has_attribute("/", kKindAttribute) && file.text_attribute("/", kKindAttribute) == kKind;
  expect(is_shard, "{}: expected a Fern shard, but this HDF5 file is something else", path);
  const int64_t format = file.int_attribute("/", kFormatAttribute);
  expect(format == kShardFormat, "{}: expected shard format {}, got {}: {}", path, kShardFormat, format,
         format > kShardFormat ? "it was written by a newer Fern; use that one" : kRemedy);
  return {.language = file.text_attribute("/", kLanguage),
          .source = file.text_attribute("/", kSource),
          .split = file.text_attribute("/", kSplit),
          .tokenizer_sha256 = file.text_attribute("/", kTokenizer),
          .vocabulary = file.int_attribute("/", kVocabulary),
          .context = file.int_attribute("/", kContext)};
}

// A mapped dataset with the hash it should have.
template <typename T>
struct Column {
  const char* name = nullptr;
  std::span<const T> values;
  std::string hash;

  Column(const Hdf5File& file, const MappedFile& mapped, const char* dataset_name) : name(dataset_name) {
    const Hdf5Dataset found = file.dataset(name);
    expect(found.type == hdf5_type_of<T> && found.dims.size() == 1,
           "{}: dataset {}: expected one dimension of {}, got {} of {}; {}", file.path().string(), name,
           name_of(hdf5_type_of<T>), found.dims.size(), name_of(found.type), kRemedy);
    values = mapped.values<T>(found.offset_bytes, static_cast<uint64_t>(found.elements));
    hash = file.text_attribute(name, kHash);
  }
  T operator[](int64_t i) const { return values[static_cast<size_t>(i)]; }
  int64_t size() const { return static_cast<int64_t>(values.size()); }
};

}  // namespace

struct Shard::State {
  std::filesystem::path path;
  ShardHeader header;
  MappedFile mapped;
  Column<int32_t> tokens_N;
  Column<uint8_t> loss_N;
  Column<int64_t> document_offsets_D, document_loss_bytes_D, text_offsets_D;
  Column<int64_t> sequence_documents_S, sequence_loss_tokens_S, sequence_loss_documents_S;
  Column<uint8_t> text_B;
  std::span<const char> characters_B;  // text_B, seen as text
  int64_t loss_tokens = 0, loss_bytes = 0;

  explicit State(const Hdf5File& file);
  int64_t documents() const { return document_loss_bytes_D.size(); }
  int64_t sequences() const { return sequence_loss_tokens_S.size(); }
  void check_sizes() const;
  void check_documents() const;
  void check_sequences() const;
  void check_offsets(const Column<int64_t>& offsets, int64_t end, int64_t least_step) const;
  template <typename T>
  void check_hash(const Column<T>& column) const;
  [[noreturn]] void refuse(const char* dataset, int64_t index, const std::string& expected) const {
    fail("{}: dataset {}: expected {} at index {}; the file is damaged: {}", path.string(), dataset, expected,
         index, kRemedy);
  }
};

Shard::State::State(const Hdf5File& file)
    : path(file.path()),
      header(read_header(file)),
      mapped(path),
      tokens_N(file, mapped, kTokens),
      loss_N(file, mapped, kLoss),
      document_offsets_D(file, mapped, kDocumentOffsets),
      document_loss_bytes_D(file, mapped, kDocumentLossBytes),
      text_offsets_D(file, mapped, kTextOffsets),
      sequence_documents_S(file, mapped, kSequenceDocuments),
      sequence_loss_tokens_S(file, mapped, kSequenceLossTokens),
      sequence_loss_documents_S(file, mapped, kSequenceLossDocuments),
      text_B(file, mapped, kText),
      characters_B(mapped.values<char>(file.dataset(kText).offset_bytes, text_B.values.size())) {
  check_sizes();
  check_offsets(document_offsets_D, tokens_N.size(), 1);
  check_offsets(text_offsets_D, text_B.size(), 0);
  check_offsets(sequence_documents_S, documents(), 1);
  check_documents();
  check_sequences();
  const auto sum = [](std::span<const int64_t> values) {
    return std::accumulate(values.begin(), values.end(), int64_t{0});
  };
  loss_tokens = sum(sequence_loss_tokens_S.values);
  loss_bytes = sum(document_loss_bytes_D.values);
}

void Shard::State::check_sizes() const {
  const auto same = [this](const char* name, int64_t got, int64_t expected) {
    expect(got == expected, "{}: dataset {}: expected {} values, got {}; the file is damaged: {}",
           path.string(), name, expected, got, kRemedy);
  };
  expect(sequences() > 0, "{}: expected at least one sequence, got none: {}", path.string(), kRemedy);
  same(kLoss, loss_N.size(), tokens_N.size());
  same(kDocumentOffsets, document_offsets_D.size(), documents() + 1);
  same(kTextOffsets, text_offsets_D.size(), documents() + 1);
  same(kSequenceDocuments, sequence_documents_S.size(), sequences() + 1);
  same(kSequenceLossDocuments, sequence_loss_documents_S.size(), sequences());
}

void Shard::State::check_offsets(const Column<int64_t>& offsets, int64_t end, int64_t least_step) const {
  if (offsets[0] != 0) refuse(offsets.name, 0, "0");
  for (int64_t i = 1; i < offsets.size(); ++i)
    if (offsets[i] < offsets[i - 1] + least_step || offsets[i] > end)
      refuse(offsets.name, i, fmt::format("{} to {}", offsets[i - 1] + least_step, end));
  if (offsets[offsets.size() - 1] != end)
    refuse(offsets.name, offsets.size() - 1, fmt::format("the end, {}", end));
}

void Shard::State::check_documents() const {
  for (int64_t i = 0; i < documents(); ++i) {
    const int64_t bytes = text_offsets_D[i + 1] - text_offsets_D[i];
    if (document_loss_bytes_D[i] < 0 || document_loss_bytes_D[i] > bytes)
      refuse(kDocumentLossBytes, i, fmt::format("0 to {}", bytes));
  }
}

void Shard::State::check_sequences() const {
  for (int64_t i = 0; i < sequences(); ++i) {
    const int64_t documents_here = sequence_documents_S[i + 1] - sequence_documents_S[i];
    const int64_t length =
        document_offsets_D[sequence_documents_S[i + 1]] - document_offsets_D[sequence_documents_S[i]];
    if (length > header.context)
      refuse(kSequenceDocuments, i, fmt::format("at most {} tokens (the context)", header.context));
    if (sequence_loss_tokens_S[i] < 0 || sequence_loss_tokens_S[i] > length)
      refuse(kSequenceLossTokens, i, fmt::format("0 to {}", length));
    if (sequence_loss_documents_S[i] < 0 || sequence_loss_documents_S[i] > documents_here)
      refuse(kSequenceLossDocuments, i, fmt::format("0 to {}", documents_here));
  }
}

// In windows that are given up again: a shard may be larger than memory.
template <typename T>
void Shard::State::check_hash(const Column<T>& column) const {
  constexpr size_t kWindow_bytes = size_t{1} << 20;
  const std::span<const std::byte> bytes = std::as_bytes(column.values);
  Xxh128 hash;
  for (size_t begin = 0; begin < bytes.size(); begin += kWindow_bytes) {
    const size_t count = std::min(kWindow_bytes, bytes.size() - begin);
    hash.update(bytes.data() + begin, count);
    mapped.forget_pages();
  }
  const std::string got = hash.hex();
  expect(got == column.hash, "{}: dataset {}: expected hash {}, got {}; the file is damaged: {}",
         path.string(), column.name, column.hash, got, kRemedy);
}

Shard::Shard(const std::filesystem::path& path) {
  expect(std::filesystem::exists(path),
         "{}: expected a shard there, but there is no such file: run fern prepare", path.string());
  const Hdf5File file = Hdf5File::open(path);
  state_ = std::make_unique<State>(file);
  state_->mapped.forget_pages();  // checking the offsets touched much that training may never need
}

Shard::~Shard() = default;
Shard::Shard(Shard&&) noexcept = default;
Shard& Shard::operator=(Shard&&) noexcept = default;

const std::filesystem::path& Shard::path() const { return state_->path; }
const ShardHeader& Shard::header() const { return state_->header; }
int64_t Shard::sequences() const { return state_->sequences(); }
int64_t Shard::documents() const { return state_->documents(); }
int64_t Shard::tokens() const { return state_->tokens_N.size(); }
int64_t Shard::loss_tokens() const { return state_->loss_tokens; }
int64_t Shard::bytes() const { return state_->text_B.size(); }
int64_t Shard::loss_bytes() const { return state_->loss_bytes; }

PackedSequence Shard::sequence(int64_t index) const {
  const size_t first = static_cast<size_t>(first_document(index));
  const size_t documents = static_cast<size_t>(first_document(index + 1)) - first;
  const auto offsets = state_->document_offsets_D.values.subspan(first, documents + 1);
  const size_t begin = static_cast<size_t>(offsets.front()),
               length = static_cast<size_t>(offsets.back()) - begin;
  return {.tokens = state_->tokens_N.values.subspan(begin, length),
          .loss = state_->loss_N.values.subspan(begin, length),
          .document_offsets = offsets,
          .document_loss_bytes = state_->document_loss_bytes_D.values.subspan(first, documents)};
}

SequenceCounts Shard::sequence_counts(int64_t index) const {
  const int64_t first = first_document(index), end = first_document(index + 1);
  return {.tokens = state_->document_offsets_D[end] - state_->document_offsets_D[first],
          .loss_tokens = state_->sequence_loss_tokens_S[index],
          .loss_documents = state_->sequence_loss_documents_S[index],
          .bytes = state_->text_offsets_D[end] - state_->text_offsets_D[first]};
}

std::string_view Shard::document_text(int64_t index) const {
  const int64_t begin = state_->text_offsets_D[index], end = state_->text_offsets_D[index + 1];
  return {state_->characters_B.data() + begin, static_cast<size_t>(end - begin)};
}

void Shard::forget_pages() const { state_->mapped.forget_pages(); }

int64_t Shard::first_document(int64_t sequence) const { return state_->sequence_documents_S[sequence]; }

void Shard::verify() const {
  state_->check_hash(state_->tokens_N);
  state_->check_hash(state_->loss_N);
  state_->check_hash(state_->document_offsets_D);
  state_->check_hash(state_->document_loss_bytes_D);
  state_->check_hash(state_->text_offsets_D);
  state_->check_hash(state_->sequence_documents_S);
  state_->check_hash(state_->sequence_loss_tokens_S);
  state_->check_hash(state_->sequence_loss_documents_S);
  state_->check_hash(state_->text_B);
}

void Shard::expect_made_with(std::string_view tokenizer_sha256, int64_t context) const {
  expect(header().tokenizer_sha256 == tokenizer_sha256,
         "{}: made with the tokenizer whose SHA-256 is {}, but this one's is {}: run fern prepare again, or "
         "put its tokenizer.model back",
         path().string(), header().tokenizer_sha256, tokenizer_sha256);
  expect(header().context <= context,
         "{}: holds sequences of up to {} tokens, but model.context is {}: run fern prepare again with this "
         "recipe, or raise model.context",
         path().string(), header().context, context);
}

}  // namespace fern
