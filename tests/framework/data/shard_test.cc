#include "framework/data/shard.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <map>

#include "framework/core/hdf5_file.h"
#include "framework/data/shard_format.h"
#include "tests/framework/data/fixture.h"

namespace fern {
namespace {

using namespace testing_data;

std::filesystem::path sample(const std::string& name) {
  const auto path = fresh_folder(name) / "sw.gettext.h5";
  write_shard(path, header_for("sw"), random_documents(40, 16, 3));
  return path;
}

TEST(Shard, HeaderReadsBack) {
  const Shard shard(sample("header"));
  EXPECT_EQ(shard.header().language, "sw");
  EXPECT_EQ(shard.header().source, "gettext");
  EXPECT_EQ(shard.header().split, "train");
  EXPECT_EQ(shard.header().tokenizer_sha256, std::string(64, 'a'));
  EXPECT_EQ(shard.header().vocabulary, 1000);
  EXPECT_EQ(shard.header().context, 16);
}

TEST(Shard, EveryDocumentReadsBackOnceWithItsText) {
  const auto path = fresh_folder("round_trip") / "sw.gettext.h5";
  const std::vector<Document> documents = random_documents(200, 16, 5);
  write_shard(path, header_for("sw"), documents);
  std::map<std::string, Document> by_text;
  for (const Document& document : documents) by_text[document.text] = document;
  ASSERT_EQ(by_text.size(), documents.size());

  const Shard shard(path);
  EXPECT_EQ(shard.documents(), 200);
  for (int64_t s = 0; s < shard.sequences(); ++s) {
    const PackedSequence sequence = shard.sequence(s);
    ASSERT_LE(sequence.tokens.size(), 16u);
    const int64_t first = shard.first_document(s);
    for (size_t d = 0; d + 1 < sequence.document_offsets.size(); ++d) {
      const auto found = by_text.extract(std::string(shard.document_text(first + static_cast<int64_t>(d))));
      ASSERT_FALSE(found.empty());
      const size_t begin = static_cast<size_t>(sequence.document_offsets[d] - sequence.document_offsets[0]),
                   length = found.mapped().tokens.size();
      const auto tokens = sequence.tokens.subspan(begin, length);
      const auto loss = sequence.loss.subspan(begin, length);
      EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), found.mapped().tokens.begin()));
      EXPECT_TRUE(std::equal(loss.begin(), loss.end(), found.mapped().loss.begin()));
      EXPECT_EQ(sequence.document_loss_bytes[d], found.mapped().loss_bytes);
    }
  }
  EXPECT_TRUE(by_text.empty());
}

TEST(Shard, CountsAreThoseOfItsDocuments) {
  const auto path = fresh_folder("counts") / "sw.gettext.h5";
  const std::vector<Document> documents = random_documents(100, 16, 9);
  write_shard(path, header_for("sw"), documents);
  SequenceCounts expected;
  int64_t loss_bytes = 0;
  for (const Document& document : documents) {
    const auto targets = std::count(document.loss.begin(), document.loss.end(), 1);
    expected.tokens += static_cast<int64_t>(document.tokens.size());
    expected.loss_tokens += targets;
    expected.loss_documents += targets > 0 ? 1 : 0;
    expected.bytes += static_cast<int64_t>(document.text.size());
    loss_bytes += document.loss_bytes;
  }
  const Shard shard(path);
  SequenceCounts sum;
  for (int64_t s = 0; s < shard.sequences(); ++s) {
    const SequenceCounts counts = shard.sequence_counts(s);
    sum.tokens += counts.tokens;
    sum.loss_tokens += counts.loss_tokens;
    sum.loss_documents += counts.loss_documents;
    sum.bytes += counts.bytes;
  }
  EXPECT_EQ(sum.tokens, expected.tokens);
  EXPECT_EQ(sum.loss_tokens, expected.loss_tokens);
  EXPECT_EQ(sum.loss_documents, expected.loss_documents);
  EXPECT_EQ(sum.bytes, expected.bytes);
  EXPECT_EQ(shard.tokens(), expected.tokens);
  EXPECT_EQ(shard.loss_tokens(), expected.loss_tokens);
  EXPECT_EQ(shard.bytes(), expected.bytes);
  EXPECT_EQ(shard.loss_bytes(), loss_bytes);
}

TEST(Shard, SameDocumentsMakeTheSameBytes) {
  EXPECT_EQ(bytes_of(sample("same_a")), bytes_of(sample("same_b")));
}

TEST(Shard, StaysUsableAfterAMove) {
  Shard shard(sample("move"));
  const PackedSequence before = shard.sequence(1);
  const Shard moved = std::move(shard);
  EXPECT_EQ(moved.sequence(1).tokens.data(), before.tokens.data());
}

TEST(Shard, TextWithoutAnyByteIsKept) {
  const auto path = fresh_folder("no_text") / "sw.gettext.h5";
  Document document = document_of(3, 1, 1);
  document.text.clear();
  document.loss_bytes = 0;
  write_shard(path, header_for("sw"), {document});
  const Shard shard(path);
  EXPECT_EQ(shard.document_text(0), "");
  shard.verify();
}

TEST(ShardWriter, RefusesWhatIsNotADocument) {
  const auto path = fresh_folder("refused") / "sw.gettext.h5";
  ShardWriter writer(path, header_for("sw"));
  const auto refusal = [&](const std::function<void(Document&)>& spoil) {
    Document document = document_of(4, 2, 1);
    spoil(document);
    return error_of([&] { writer.add(document); });
  };
  EXPECT_EQ(refusal([](Document&) {}), "no error");
  const std::string where = path.string() + ", document 1";
  EXPECT_TRUE(mentions(refusal([](Document& d) { d = document_of(17, 2, 1); }),
                       {where, "expected 1 to 16 tokens", "got 17"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.tokens.clear(); }), {where, "got 0"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.tokens[2] = 1000; }), {where, "[0, 1000)", "got 1000"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.tokens[2] = -1; }), {where, "got -1"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.loss.pop_back(); }), {where, "4 loss flags", "got 3"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.loss[0] = 1; }), {where, "first token"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.loss[3] = 2; }), {where, "0 or 1"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.text = std::string("\xff"); }), {where, "not UTF-8"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.text = std::string("\xe1\xba"); }), {where, "not UTF-8"}));
  EXPECT_TRUE(mentions(refusal([](Document& d) { d.loss_bytes = 100; }), {where, "loss_bytes", "got 100"}));
}

TEST(ShardWriter, NoDocumentIsAnErrorAndNoFile) {
  const auto folder = fresh_folder("none");
  EXPECT_TRUE(mentions(error_of([&] { write_shard(folder / "sw.gettext.h5", header_for("sw"), {}); }),
                       {"sw.gettext.h5", "at least one document"}));
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(ShardWriter, NothingStaysBehindWithoutFinish) {
  const auto folder = fresh_folder("unfinished");
  { ShardWriter(folder / "sw.gettext.h5", header_for("sw")).add(document_of(3, 1, 1)); }
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(ShardWriter, FolderThatCannotBeMadeIsNamed) {
  EXPECT_TRUE(mentions(error_of([] { ShardWriter("/proc/no/sw.h5", header_for("sw")); }), {"/proc/no"}));
}

// Runs in a process of its own, on a disk of 64 KB that only it sees. Exit codes: 0 right, 1 wrong, 77 no
// such disk can be made here.
void write_to_a_full_disk() {
  const auto folder = fresh_folder("full");
  if ((unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
      mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", folder.c_str(), "tmpfs", 0, "size=64k") != 0)
    std::exit(77);
  const auto path = folder / "sw.gettext.h5";
  write_shard(path, header_for("sw"), random_documents(10, 16, 1));
  const std::string before = bytes_of(path);
  const std::string error =
      error_of([&] { write_shard(path, header_for("sw"), random_documents(3000, 16, 2)); });
  const auto left = std::distance(std::filesystem::directory_iterator(folder), {});
  std::exit(mentions(error, {path.string(), "No space left"}) && left == 1 && bytes_of(path) == before ? 0
                                                                                                       : 1);
}

TEST(ShardWriter, FullDiskLeavesTheOldShardAndNothingElse) {
  EXPECT_EXIT(
      write_to_a_full_disk(),
      [](int status) { return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77); },
      "");
}

}  // namespace
}  // namespace fern
