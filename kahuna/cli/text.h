// Words for people and for programs: JSON strings, tables, figures, guesses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/error.h"
#include "runtime/time.h"

namespace kahuna::cli {

// `text` in quotes, escaped. Bytes that are not UTF-8 become U+FFFD: use json_bytes for those.
std::string json_string(std::string_view text);
// "NAME":"…" when `bytes` is UTF-8, else "NAME_base64":"…".
std::string json_bytes(std::string_view name, std::string_view bytes);
bool is_utf8(std::string_view text);
std::string base64(std::string_view bytes);

// The candidate with the smallest edit distance to `word`, or "" when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// Columns padded to their widest cell, two spaces between; a line per row.
std::string table(const std::vector<std::vector<std::string>>& rows);

// "850ns", "12.3us", "4.56ms", "1.2s".
std::string short_duration(Duration duration);
// Microseconds with three decimals, for JSON.
std::string micros(Duration duration);

// Writes "kahuna: …" to stderr, or {"error":…,"text":…} to stdout.
void report_error(const Error& error, bool json);

}  // namespace kahuna::cli
