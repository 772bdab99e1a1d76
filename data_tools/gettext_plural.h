// Which translation of a gettext message says one thing and which many.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data_tools/gettext.h"

namespace fern {

// Value of a Plural-Forms expression for `n`: C's ?: || && == != < > <= >= + - * / % ! and brackets over
// whole numbers and `n` (GNU gettext manual, "Additional functions for plural forms"). Division by zero is 0.
// Nothing when it is not such an expression.
std::optional<int64_t> evaluate_plural(std::string_view expression, int64_t n);

struct GettextPair {
  std::string english;
  std::string text;
};

// English beside translation, for one message. A message with a plural gives two pairs: the singular with the
// form for 1, the plural with the form for 100 (many, in every language's rule); only the plural where both
// forms are the same. Without a rule that can be used they are the first and the last form. Empty
// translations are left out.
std::vector<GettextPair> pairs_of(const GettextEntry& entry, const GettextCatalogue& catalogue);

}  // namespace fern
