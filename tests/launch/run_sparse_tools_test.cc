// What is done with sparse checkpoints outside training, as a user would do it.
#include <nlohmann/json.hpp>

#include "tests/launch/whole_run.h"

namespace fern {
namespace {

namespace fs = std::filesystem;

class SparseTools : public Run {
 protected:
  static void SetUpTestSuite() {
    Run::SetUpTestSuite();
    const Outcome outcome =
        run_fern(train("static", {"--set", "train.steps=6", "--set", "sparsity.method=static", "--set",
                                  "sparsity.sparsity=0.8"}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  static nlohmann::json inspected(const fs::path& path) {
    const Outcome outcome = run_fern({"inspect", path.string(), "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out);
  }
};

TEST_F(SparseTools, ExportAndImportKeepWeightsAndPatterns) {
  const Outcome exported = run_fern({"export", path("static"), "--out", path("exported")});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const Outcome imported = run_fern({"import", path("exported"), "--out", path("imported")});
  ASSERT_EQ(imported.exit_code, 0) << imported.err;
  const auto before = inspected(path("static"));
  for (const std::string name : {"exported", "imported/step-000000"}) {
    const auto after = inspected(path(name));
    for (const char* key : {"weights_hash", "topology_hash", "nonzeros", "parameters", "sparsity"})
      EXPECT_EQ(after.at(key), before.at(key)) << name << ": " << key;
  }
}

}  // namespace
}  // namespace fern
