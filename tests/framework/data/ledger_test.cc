#include "framework/data/ledger.h"

#include <gtest/gtest.h>

#include <cmath>

#include "framework/data/token_stream.h"
#include "tests/framework/data/loader_fixture.h"

namespace fern {
namespace {

using namespace testing_data;

TEST(Ledger, SumsExactlyAndRoundTrips) {
  const SmallData data("ledger");
  const Loader loader = data.loader(4);
  Ledger ledger({"am", "sw", "yo"});
  std::vector<LanguageCounts> sums(3);
  for (int64_t step = 0; step < 50; ++step) {
    const auto counts = loader.counts(step);
    ledger.add(counts, {});
    for (size_t i = 0; i < 3; ++i) {
      sums[i].sequences += counts[i].sequences;
      sums[i].bytes += counts[i].bytes;
    }
  }
  const Ledger again = Ledger::from_json(nlohmann::json::parse(ledger.to_json().dump(2)));
  EXPECT_EQ(again.to_json(), ledger.to_json());
  EXPECT_EQ(again.languages(), ledger.languages());
  EXPECT_EQ(again.steps(), 50);
  for (size_t i = 0; i < 3; ++i) {
    const LanguageCounts& counts = again.counts()[i];
    EXPECT_EQ(counts.sequences, sums[i].sequences);
    EXPECT_EQ(counts.bytes, sums[i].bytes);
    EXPECT_EQ(counts.epochs,
              static_cast<double>(sums[i].sequences) / static_cast<double>(data.languages[i].sequences()));
  }
}

TEST(Ledger, NeverDiffersFromThePlanByMoreThanOneBatch) {
  const SmallData data("plan");
  const Loader loader = data.loader(4);
  Ledger ledger({"am", "sw", "yo"});
  for (int64_t step = 0; step < 100; ++step) {
    ledger.add(loader.counts(step), {});
    for (size_t i = 0; i < 3; ++i)
      ASSERT_LT(std::abs(static_cast<double>(ledger.counts()[i].sequences) -
                         static_cast<double>((step + 1) * 12) * data.sampler->shares()[i]),
                1.0);
  }
}

TEST(Ledger, ContinuesFromJsonAsIfNeverStopped) {
  const SmallData data("continue");
  const Loader loader = data.loader(4);
  Ledger whole({"am", "sw", "yo"}), first({"am", "sw", "yo"});
  for (int64_t step = 0; step < 10; ++step) whole.add(loader.counts(step), {});
  for (int64_t step = 0; step < 4; ++step) first.add(loader.counts(step), {});
  Ledger second = Ledger::from_json(nlohmann::json::parse(first.to_json().dump()));
  for (int64_t step = 4; step < 10; ++step) second.add(loader.counts(step), {});
  EXPECT_EQ(second.to_json(), whole.to_json());
}

TEST(Ledger, RefusesWhatIsNotItsOwn) {
  EXPECT_TRUE(mentions(error_of([] {
                         Ledger::from_json({{"steps", 1}});
                       }),
                       {"expected a ledger", "languages"}));
  EXPECT_TRUE(mentions(error_of([] { Ledger::from_json("text"); }), {"expected a ledger"}));
  EXPECT_TRUE(mentions(error_of([] { Ledger({"sw", "am"}); }), {"order of their codes"}));
  EXPECT_TRUE(mentions(error_of([] { Ledger({"am", "am"}); }), {"each once"}));
  EXPECT_TRUE(mentions(error_of([] { Ledger({"am"}).add({}, {}); }), {"1 languages, got 0"}));
  EXPECT_TRUE(mentions(error_of([] {
                         Ledger({"am"}).expect_languages({"am", "sw"});
                       }),
                       {"(am)", "(am, sw)"}));
  Ledger ledger({"am"});
  ledger.add({{.sequences = 1, .available = 5}}, {});
  EXPECT_TRUE(mentions(error_of([&] { ledger.add({{.sequences = 1, .available = 6}}, {}); }),
                       {"am", "5", "6", "changed"}));
}

TEST(TokenStream, DoesNotDependOnTheMicroBatch) {
  const SmallData data("stream");
  const std::string hash = token_stream_sha256(data.loader(12), 10);
  for (const int64_t micro_sequences : {1, 2, 3, 4, 6})
    EXPECT_EQ(token_stream_sha256(data.loader(micro_sequences), 10), hash);
  EXPECT_NE(token_stream_sha256(data.loader(12), 11), hash);
}

TEST(TokenStream, ChangesWithOneToken) {
  const auto hash_with = [](int32_t token) {
    const auto folder = fresh_folder("one_token");
    Document document = document_of(5, 1, 1);
    document.tokens[3] = token;
    write_shard(folder / "train" / "sw.gettext.h5", header_for("sw"), {document});
    const auto languages = open_languages(folder, "train", std::string(64, 'a'), 16);
    const Sampler sampler(1, {1.0}, {1}, 1);
    return token_stream_sha256(
        Loader(languages, sampler, {.sequences = 1, .micro_sequences = 1, .context = 16},
               LossNormalization::kToken),
        1);
  };
  EXPECT_NE(hash_with(1), hash_with(2));
}

}  // namespace
}  // namespace fern
