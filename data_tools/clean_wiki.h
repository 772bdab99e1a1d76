// Wiki text in MediaWiki's messages (www.mediawiki.org, "Help:Formatting" and "Localisation").
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fern {

// Plain text of a message:
//   {{PLURAL:$1|a|b}}  the last form, which is the plural in every language ("0=none" forms are skipped)
//   {{GENDER:$1|a|b}}  the first form
//   [[page|label]]     the label; [[page]] the page; [[File:...]] and thumbnails nothing; [http://... label]
//   the label
//   '''bold''' ''italic'' == heading ==  __NOTOC__   the words; list markers at line starts go
// Nothing when it holds what has no plain text: any other template, {{GRAMMAR}} (inflects a name), tables,
// signatures, language converter rules, code, brackets that do not match. HTML stays: clean_markup.h.
std::optional<std::string> strip_wiki(std::string_view text);

// The same for notes about messages (qqq.json): templates that only classify go, {{msg-mw|name}} leaves the
// name in quotes, list items are joined by ";". "" where strip_wiki gives nothing.
std::string strip_wiki_note(std::string_view note);

}  // namespace fern
