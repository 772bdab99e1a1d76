// The names inside a shard, shared by its writer and its reader. format.md says what each holds.
#pragma once

namespace fern::shard_format {

inline constexpr char kKind[] = "fern shard";

// Attributes of the file.
inline constexpr char kKindAttribute[] = "kind";
inline constexpr char kFormatAttribute[] = "format";
inline constexpr char kLanguage[] = "language";
inline constexpr char kSource[] = "source";
inline constexpr char kSplit[] = "split";
inline constexpr char kTokenizer[] = "tokenizer_sha256";
inline constexpr char kVocabulary[] = "vocabulary";
inline constexpr char kContext[] = "context";

// Datasets.
inline constexpr char kTokens[] = "tokens";
inline constexpr char kLoss[] = "loss";
inline constexpr char kDocumentOffsets[] = "document_offsets";
inline constexpr char kDocumentLossBytes[] = "document_loss_bytes";
inline constexpr char kSequenceDocuments[] = "sequence_documents";
inline constexpr char kSequenceLossTokens[] = "sequence_loss_tokens";
inline constexpr char kSequenceLossDocuments[] = "sequence_loss_documents";
inline constexpr char kText[] = "text";
inline constexpr char kTextOffsets[] = "text_offsets";

// Attribute of each dataset: XXH3-128 of its bytes, 32 hexadecimal digits.
inline constexpr char kHash[] = "xxh128";

}  // namespace fern::shard_format
