#include "recipes/places.h"

#include <algorithm>

#include "recipes/fields.h"

namespace fern {

namespace {

// The keys that a text names, in its order.
std::vector<std::string_view> keys_in(std::string_view text) {
  constexpr std::string_view kOfNames = "abcdefghijklmnopqrstuvwxyz0123456789_.";
  std::vector<std::string_view> keys;
  for (size_t begin = 0, end = 0; (begin = text.find_first_of(kOfNames, end)) != text.npos;) {
    end = std::min(text.find_first_not_of(kOfNames, begin), text.size());
    std::string_view word = text.substr(begin, end - begin);
    if (word.ends_with('.')) word.remove_suffix(1);
    if (find_field(word) != nullptr) keys.push_back(word);
  }
  return keys;
}

}  // namespace

void fail_at_place(const Recipe& recipe, const Error& error) {
  const std::vector<std::string_view> keys = keys_in(error.what());
  if (error.code() != ExitCode::kBadUsage || keys.empty()) throw error;
  const auto set =
      std::ranges::find_if(keys, [&](std::string_view key) { return recipe.places.contains(key); });
  fail_usage("{}: {}", recipe.where(set == keys.end() ? keys.front() : *set), error.what());
}

}  // namespace fern
