// HTML and Pango markup in messages.
#pragma once

#include <string>
#include <string_view>

namespace fern {

// Drops comments and the tags that interfaces use (b, i, a, span, code, br, p, li...), keeping what they
// enclose; tags that break a line leave a space. Other words in angle brackets stay: "usage: cp <source>
// <target>".
std::string strip_tags(std::string_view text);

// Decodes numeric entities and the common named ones; an unknown "&word;" stays.
std::string decode_entities(std::string_view text);

}  // namespace fern
