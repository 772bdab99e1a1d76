// One TOML value against one field.
#pragma once

#include <toml++/toml.h>
#include <string>

#include "recipes/fields.h"

namespace fern {

// Errors (kBadUsage), each starting with `where`: another type, a number outside the range, a name not
// accepted.
Value read_value(const Field& field, const toml::node& node, const std::string& where);

}  // namespace fern
