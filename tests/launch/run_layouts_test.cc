// Runs that stop under one layout of ranks and go on under another: every ordered pair of layouts.
#include "tests/launch/whole_run.h"

namespace fern {
namespace {

struct Layout {
  std::string name;
  int ranks = 1;
  std::vector<std::string> settings;
};

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> all = {
      {"one", 1, {}},
      {"data", 2, {"--set", "parallel.zero=1"}},
      {"pipeline", 2, {"--set", "parallel.pipeline=2"}},
      {"both", 4, {"--set", "parallel.pipeline=2", "--set", "parallel.zero=1"}},
  };
  return all;
}

class Layouts : public Run {
 protected:
  static Outcome run(const Layout& layout, const std::string& name, std::vector<std::string> more = {}) {
    more.insert(more.end(), layout.settings.begin(), layout.settings.end());
    return run_fern_on(layout.ranks, train(name, more));
  }
};

TEST_F(Layouts, EachGoesOnFromEachOther) {
  for (const Layout& first : layouts())
    for (const Layout& second : layouts()) {
      if (first.name == second.name) continue;
      const std::string name = first.name + "_" + second.name;
      const Outcome begun = run(first, name);
      ASSERT_EQ(begun.exit_code, 0) << begun.err;
      // As if it had been killed after step 20.
      for (const auto& checkpoint : checkpoints(name))
        if (checkpoint.filename() != "step-000020") std::filesystem::remove_all(checkpoint);
      const Outcome ended = run(second, name);
      ASSERT_EQ(ended.exit_code, 0) << ended.err;
      EXPECT_TRUE(has(ended.err, "step-000020")) << ended.err;
      expect_equals_whole(name);
    }
}

}  // namespace
}  // namespace fern
