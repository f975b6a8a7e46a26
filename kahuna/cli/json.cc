#include "kahuna/cli/json.h"

namespace kahuna::cli {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<Json> whole() {
    ASSIGN_OR_RETURN(Json value, any(0));
    skip_blanks();
    if (at_ != text_.size()) return bad("something follows the value");
    return value;
  }

 private:
  std::unexpected<Error> bad(std::string_view why) const {
    return fail(ErrorCode::kInvalid,
                "bad JSON at byte " + std::to_string(at_) + ": " + std::string(why));
  }
  void skip_blanks() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").contains(text_[at_])) ++at_;
  }
  bool take(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Result<Json> any(int depth) {
    if (depth > kJsonDepthMax) return bad("nested too deeply");
    skip_blanks();
    if (take('{')) return object(depth);
    if (take('[')) return array(depth);
    Json value;
    if (at_ < text_.size() && text_[at_] == '"') {
      value.kind = Json::Kind::kString;
      ASSIGN_OR_RETURN(value.text, string());
      return value;
    }
    if (take_word("null")) return value;
    for (const std::string_view word : {"true", "false"}) {
      if (!take_word(word)) continue;
      value.kind = Json::Kind::kBool;
      value.text = word;
      return value;
    }
    const size_t start = at_;
    while (at_ < text_.size() && std::string_view("+-.0123456789eE").contains(text_[at_])) ++at_;
    if (at_ == start) return bad("expected a value");
    value.kind = Json::Kind::kNumber;
    value.text = text_.substr(start, at_ - start);
    return value;
  }

  Result<Json> object(int depth) {
    Json value;
    value.kind = Json::Kind::kObject;
    if (take('}')) return value;
    do {
      skip_blanks();
      ASSIGN_OR_RETURN(std::string name, string());
      if (!take(':')) return bad("expected ':'");
      ASSIGN_OR_RETURN(Json member, any(depth + 1));
      value.names.push_back(std::move(name));
      value.items.push_back(std::move(member));
    } while (take(','));
    if (!take('}')) return bad("expected ',' or '}'");
    return value;
  }

  Result<Json> array(int depth) {
    Json value;
    value.kind = Json::Kind::kArray;
    if (take(']')) return value;
    do {
      ASSIGN_OR_RETURN(Json item, any(depth + 1));
      value.items.push_back(std::move(item));
    } while (take(','));
    if (!take(']')) return bad("expected ',' or ']'");
    return value;
  }

  Result<std::string> string() {
    if (at_ >= text_.size() || text_[at_] != '"') return bad("expected a string");
    std::string out;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return out;
      }
      if (c != '\\') {
        out += c;
        continue;
      }
      if (++at_ >= text_.size()) break;
      ASSIGN_OR_RETURN(const std::string escaped, escape());
      out += escaped;
    }
    return bad("the string does not end");
  }

  // At the character behind the backslash; leaves at_ on the escape's last character.
  Result<std::string> escape() {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (const size_t i = kNames.find(text_[at_]); i != std::string_view::npos) {
      return std::string(1, kMeanings[i]);
    }
    if (text_[at_] != 'u' || at_ + 4 >= text_.size()) return bad("unknown escape");
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[++at_];
      const uint32_t digit = c >= '0' && c <= '9'   ? static_cast<uint32_t>(c - '0')
                             : c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a' + 10)
                             : c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A' + 10)
                                                    : 16;
      if (digit == 16) return bad("expected four hexadecimal digits");
      code = code << 4 | digit;
    }
    const auto byte = [](uint32_t b) { return static_cast<char>(b); };
    if (code < 0x80) return std::string{byte(code)};
    if (code < 0x800) return std::string{byte(0xc0 | code >> 6), byte(0x80 | (code & 0x3f))};
    // Surrogate pairs are not joined: a status has none.
    return std::string{byte(0xe0 | code >> 12), byte(0x80 | (code >> 6 & 0x3f)),
                       byte(0x80 | (code & 0x3f))};
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

const Json& Json::operator[](std::string_view name) const {
  static const Json kNone;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return items[i];
  }
  return kNone;
}

Result<Json> parse_json(std::string_view text) {
  return Reader(text).whole();
}

}  // namespace kahuna::cli
