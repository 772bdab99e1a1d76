// Language codes: what catalogues call a language, as one BCP 47 tag.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fern {

// The BCP 47 tag of `code`, which may be a BCP 47 tag in any case, a POSIX locale ("pt_BR.UTF-8",
// "sr@latin"), or a MediaWiki code ("roa-rup", "zh-hans"). Rules, in order:
//  1. names that are not what they look like come from a table (MediaWiki's "nrm" is Norman, "sr-el" is
//  Serbian
//     in Latin script, glibc's "ca@valencia" is a variant; "no" is "nb", "tl" is "fil");
//  2. ICU parses the rest (uloc_forLanguageTag), which also replaces withdrawn codes ("iw" -> "he");
//  3. a script or region that CLDR's likely subtags would add anyway is dropped ("nb-NO" -> "nb", "zh-Hans"
//  ->
//     "zh", "pa-PK" -> "pa-Arab"), so that one language is one tag. "pt" stays European, as catalogues mean
//     it.
// Nothing for a code that names no language: malformed, private use ("qqq"), a two-letter code that ICU does
// not know, a style of address ("de-formal"), English in disguise ("en@quot"). Three-letter codes are taken
// on trust: ICU's tables lack much of ISO 639-3.
std::optional<std::string> normalise_language(std::string_view code);

// ISO 15924 code of the script a language tag is written in, "" when CLDR does not know. Chinese gives "Hans"
// or "Hant", Japanese "Jpan", Korean "Kore".
std::string script_of_language(const std::string& tag);

}  // namespace fern
