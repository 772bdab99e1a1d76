// Recipe files in the test's own folder.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "framework/core/error.h"
#include "recipes/recipe.h"

namespace fern {

inline constexpr const char* kSmallRecipe = R"([model]
layers = 2
hidden = 64
heads = 4
kv_heads = 2
ffn = 128
context = 32
[data]
folder = "prepared"
templates = "templates"
[train]
steps = 10
)";

inline std::filesystem::path write_recipe(const std::string& name, const std::string& text) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "recipes";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / name) << text;
  return folder / name;
}

// The message read_recipe refuses with; "" when it does not.
inline std::string refusal(const std::filesystem::path& file,
                           const std::vector<std::string>& overrides = {}) {
  try {
    read_recipe(file, overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadUsage);
    return error.what();
  }
  return "";
}

}  // namespace fern
