// The exported form of a history: docs/history-format.md.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "runtime/check.h"
#include "sim/history.h"

namespace kahuna::sim {
namespace {

// --- writing ---

void add_text(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (byte < 0x20 || byte >= 0x7f)
      out += fmt::format("\\u{:04x}", byte);
    else
      out += c;
  }
  out += '"';
}

void add_value(std::string& out, ValueId value) {
  if (value == kNothing)
    out += "null";
  else if (value == kGarbage)
    out += "\"garbage\"";
  else
    out += std::to_string(value);
}

std::string_view function_name(const Operation& op) {
  switch (op.function) {
    case Function::kWrite: {
      const WriteConditions& c = op.conditions;
      return c.if_absent || c.if_exists || c.compare_value || c.compare_revision ? "cas" : "write";
    }
    case Function::kDelete: return "delete";
    case Function::kRead: return "read";
    case Function::kExists: return "exists";
    case Function::kScan: return "scan";
  }
  UNREACHABLE("function");
}

void add_head(std::string& out, const Operation& op, std::string_view type,
              const std::string& key) {
  out += fmt::format(R"({{"process":{},"type":"{}","f":"{}","key":)", op.process, type,
                     function_name(op));
  add_text(out, key);
}

void add_conditions(std::string& out, const WriteConditions& c) {
  if (c.if_absent) out += R"(,"if_absent":true)";
  if (c.if_exists) out += R"(,"if_exists":true)";
  if (c.compare_value) {
    out += R"(,"if_value":)";
    add_value(out, c.value);
  }
  if (c.compare_revision) out += fmt::format(R"(,"if_revision":{})", c.revision);
}

void add_invoke(std::string& out, const History& history, const Operation& op) {
  add_head(out, op, "invoke", history.text(op.key));
  out += R"(,"value":)";
  add_value(out, op.function == Function::kWrite ? op.value : kNothing);
  add_conditions(out, op.conditions);
  out += fmt::format(R"(,"time":{},"client":{}}})", op.invoked_at.nanos(), op.client);
  out += '\n';
}

void add_page(std::string& out, const History& history, const SeenPage& page) {
  out += '[';
  for (const SeenItem& item : page.items) {
    if (out.back() != '[') out += ',';
    out += '[';
    add_text(out, history.text(item.key));
    out += ',';
    add_value(out, item.value);
    out += fmt::format(",{},{}]", item.revision, item.stamp);
  }
  out += fmt::format(R"(],"complete":{},"after":)", page.complete);
  add_text(out, page.after);
}

void add_completion(std::string& out, const History& history, const Operation& op) {
  std::string_view type = op.completion == Completion::kOk     ? "ok"
                          : op.completion == Completion::kFail ? "fail"
                                                               : "info";
  add_head(out, op, type, history.text(op.key));
  out += R"(,"value":)";
  bool ok = op.is_ok();
  if (ok && op.function == Function::kScan)
    add_page(out, history, history.pages()[op.page]);
  else if (ok && op.function == Function::kRead)
    add_value(out, op.reply.value);
  else
    add_value(out, op.function == Function::kWrite ? op.value : kNothing);
  if (ok && op.function != Function::kScan && op.function != Function::kRead)
    out += fmt::format(R"(,"done":{})", op.reply.done);
  if (ok && op.reply.revision != kNoRevision)
    out += fmt::format(R"(,"revision":{})", op.reply.revision);
  if (ok && op.reply.stamp != kNoStamp) out += fmt::format(R"(,"stamp":{})", op.reply.stamp);
  if (ok && op.reply.replayed) out += R"(,"replayed":true)";
  if (!ok) {
    out += R"(,"error":)";
    add_text(out, name_of(op.error));
  }
  out += fmt::format(R"(,"time":{}}})", op.completed_at.nanos());
  out += '\n';
}

// --- reading: the subset of JSON that the format uses ---

struct Json {
  enum Kind : uint8_t { kNull, kBool, kNumber, kText, kList, kObject } kind = kNull;
  bool flag = false;
  int64_t number = 0;
  uint64_t magnitude = 0;  // the number when it is not negative
  std::string text;
  std::vector<Json> list;
  std::vector<struct JsonField> fields;

  const Json* find(std::string_view name) const;
};

struct JsonField {
  std::string key;
  Json value;
};

const Json* Json::find(std::string_view name) const {
  for (const JsonField& field : fields)
    if (field.key == name) return &field.value;
  return nullptr;
}

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}
  std::optional<Json> whole() {
    auto value = read(0);
    skip();
    if (!value || at_ != text_.size()) return std::nullopt;
    return value;
  }

 private:
  static constexpr int kDepthMax = 8;

  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  bool take(std::string_view token) {
    skip();
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }

  std::optional<Json> read(int depth) {
    if (depth > kDepthMax) return std::nullopt;
    skip();
    Json value;
    if (take("null")) return value;
    if (take("true") || take("false")) {
      value.kind = Json::kBool;
      value.flag = text_[at_ - 2] == 'u';
      return value;
    }
    if (at_ >= text_.size()) return std::nullopt;
    switch (text_[at_]) {
      case '"': return read_text(value);
      case '[': return read_list(value, depth);
      case '{': return read_object(value, depth);
      default: return read_number(value);
    }
  }

  std::optional<Json> read_number(Json& value) {
    bool negative = take("-");
    size_t start = at_;
    uint64_t magnitude = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      magnitude = magnitude * 10 + static_cast<uint64_t>(text_[at_] - '0');
    if (at_ == start) return std::nullopt;
    value.kind = Json::kNumber;
    value.magnitude = magnitude;
    value.number = static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
    return value;
  }

  std::optional<Json> read_text(Json& value) {
    value.kind = Json::kText;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] != '\\') {
        value.text += text_[at_];
        continue;
      }
      if (++at_ >= text_.size()) return std::nullopt;
      if (text_[at_] != 'u') {
        value.text += text_[at_];
        continue;
      }
      if (at_ + 4 >= text_.size()) return std::nullopt;
      std::string hex(text_.substr(at_ + 1, 4));
      value.text += static_cast<char>(std::strtoul(hex.c_str(), nullptr, 16));
      at_ += 4;
    }
    if (at_ >= text_.size()) return std::nullopt;
    ++at_;
    return value;
  }

  std::optional<Json> read_list(Json& value, int depth) {
    value.kind = Json::kList;
    ++at_;
    if (take("]")) return value;
    do {
      auto element = read(depth + 1);
      if (!element) return std::nullopt;
      value.list.push_back(std::move(*element));
    } while (take(","));
    if (!take("]")) return std::nullopt;
    return value;
  }

  std::optional<Json> read_object(Json& value, int depth) {
    value.kind = Json::kObject;
    ++at_;
    if (take("}")) return value;
    do {
      skip();
      Json name;
      if (at_ >= text_.size() || text_[at_] != '"' || !read_text(name)) return std::nullopt;
      if (!take(":")) return std::nullopt;
      auto element = read(depth + 1);
      if (!element) return std::nullopt;
      value.fields.emplace_back(std::move(name.text), std::move(*element));
    } while (take(","));
    if (!take("}")) return std::nullopt;
    return value;
  }

  std::string_view text_;
  size_t at_ = 0;
};

ValueId value_of(const Json* json) {
  if (!json || json->kind == Json::kNull) return kNothing;
  return json->kind == Json::kNumber ? json->number : kGarbage;
}
int64_t number_of(const Json* json, int64_t otherwise) {
  return json && json->kind == Json::kNumber ? json->number : otherwise;
}
bool flag_of(const Json* json) {
  return json && json->kind == Json::kBool && json->flag;
}
uint64_t stamp_of(const Json* json) {
  return json && json->kind == Json::kNumber ? json->magnitude : kNoStamp;
}

std::optional<Function> function_of(std::string_view name) {
  if (name == "write" || name == "cas") return Function::kWrite;
  if (name == "delete") return Function::kDelete;
  if (name == "read") return Function::kRead;
  if (name == "exists") return Function::kExists;
  if (name == "scan") return Function::kScan;
  return std::nullopt;
}

ErrorCode error_named(std::string_view name) {
  for (int code = 1; code <= int(ErrorCode::kNotFound); ++code)
    if (name_of(static_cast<ErrorCode>(code)) == name) return static_cast<ErrorCode>(code);
  return ErrorCode::kUnknown;
}

WriteConditions conditions_of(const Json& json) {
  WriteConditions c;
  c.if_absent = flag_of(json.find("if_absent"));
  c.if_exists = flag_of(json.find("if_exists"));
  c.compare_value = json.find("if_value") != nullptr;
  c.value = value_of(json.find("if_value"));
  c.compare_revision = json.find("if_revision") != nullptr;
  c.revision = number_of(json.find("if_revision"), kNoRevision);
  return c;
}

std::optional<SeenPage> page_of(History& history, const Json& json) {
  const Json* value = json.find("value");
  if (!value || value->kind != Json::kList) return std::nullopt;
  SeenPage page;
  page.complete = flag_of(json.find("complete"));
  if (const Json* after = json.find("after")) page.after = after->text;
  for (const Json& row : value->list) {
    if (row.kind != Json::kList || row.list.size() < 3) return std::nullopt;
    SeenItem item;
    item.key = history.name(row.list[0].text);
    item.value = value_of(&row.list[1]);
    item.revision = number_of(&row.list[2], kNoRevision);
    if (row.list.size() > 3) item.stamp = stamp_of(&row.list[3]);
    page.items.push_back(item);
  }
  return page;
}

}  // namespace

std::string History::to_json_lines() const {
  struct Event {
    EventNumber number;
    OperationNumber operation;
    bool completes;
  };
  std::vector<Event> events;
  events.reserve(operations_.size() * 2);
  for (OperationNumber i = 0; i < operations_.size(); ++i) {
    events.push_back({operations_[i].invoked, i, false});
    if (operations_[i].completed) events.push_back({operations_[i].completed, i, true});
  }
  std::sort(events.begin(), events.end(),
            [](const Event& a, const Event& b) { return a.number < b.number; });
  std::string out;
  for (const Event& event : events) {
    const Operation& op = operations_[event.operation];
    event.completes ? add_completion(out, *this, op) : add_invoke(out, *this, op);
  }
  return out;
}

Result<History> History::from_json_lines(std::string_view text) {
  History history;
  std::map<int64_t, OperationNumber> open;  // by process
  size_t line_number = 0;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_number;
    if (line.empty()) continue;
    auto bad = [&](const char* why) {
      return fail(ErrorCode::kInvalid, fmt::format("history line {}: {}", line_number, why));
    };
    auto json = JsonReader(line).whole();
    if (!json || json->kind != Json::kObject) return bad("not a JSON object");
    const Json* type = json->find("type");
    const Json* key = json->find("key");
    const Json* f = json->find("f");
    if (!type || !key || !f) return bad("needs type, f and key");
    auto function = function_of(f->text);
    if (!function) return bad("unknown f");
    int64_t process = number_of(json->find("process"), 0);
    Time time = Time::from_nanos(number_of(json->find("time"), 0));
    if (type->text == "invoke") {
      if (open.contains(process)) return bad("this process has an operation open already");
      Operation op;
      op.function = *function;
      op.process = static_cast<uint32_t>(process);
      op.client = static_cast<uint32_t>(number_of(json->find("client"), process));
      op.key = history.name(key->text);
      if (op.function == Function::kWrite) op.value = value_of(json->find("value"));
      op.conditions = conditions_of(*json);
      open[process] = history.invoke(op, time);
      continue;
    }
    auto found = open.find(process);
    if (found == open.end()) return bad("this process has no operation open");
    OperationNumber number = found->second;
    open.erase(found);
    if (history.operations_[number].function != *function) return bad("f differs from invoke's");
    if (type->text == "ok" && *function == Function::kScan) {
      auto page = page_of(history, *json);
      if (!page) return bad("a scan's value is a list of [key, value, revision]");
      history.complete_scan(number, std::move(*page), time);
    } else if (type->text == "ok") {
      Reply reply;
      reply.done = flag_of(json->find("done"));
      reply.revision = number_of(json->find("revision"), kNoRevision);
      if (*function == Function::kRead) reply.value = value_of(json->find("value"));
      reply.stamp = stamp_of(json->find("stamp"));
      reply.replayed = flag_of(json->find("replayed"));
      history.complete_ok(number, reply, time);
    } else if (type->text == "fail" || type->text == "info") {
      const Json* error = json->find("error");
      history.complete_error(number, error ? error_named(error->text) : ErrorCode::kUnknown, time);
      Operation& op = history.operations_[number];
      Completion said = type->text == "fail" ? Completion::kFail : Completion::kInfo;
      if (op.completion != said) {
        --(said == Completion::kFail ? history.counts_.info : history.counts_.fail);
        ++(said == Completion::kFail ? history.counts_.fail : history.counts_.info);
        op.completion = said;
      }
    } else {
      return bad("type is none of invoke, ok, fail, info");
    }
  }
  return history;
}

}  // namespace kahuna::sim
