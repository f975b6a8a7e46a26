#include "sim/history.h"

#include <fmt/core.h>

#include "runtime/check.h"

namespace kahuna::sim {

NameId History::name(std::string_view text) {
  auto found = name_ids_.find(text);
  if (found != name_ids_.end()) return found->second;
  NameId id = static_cast<NameId>(names_.size());
  names_.emplace_back(text);
  name_ids_.emplace(std::string(text), id);
  return id;
}

std::string_view History::bucket_of(std::string_view key) {
  size_t slash = key.rfind('/');
  return slash == std::string_view::npos ? key : key.substr(0, slash);
}

OperationNumber History::invoke(Operation operation, Time now) {
  CHECK_LT(operation.key, names_.size());
  CHECK_LT(operations_.size(), size_t{UINT32_MAX});
  operation.completion = Completion::kOpen;
  operation.invoked = ++events_;
  operation.completed = 0;
  operation.invoked_at = now;
  operations_.push_back(operation);
  ++counts_.invoked;
  return static_cast<OperationNumber>(operations_.size() - 1);
}

void History::complete_ok(OperationNumber number, Reply reply, Time now) {
  Operation& operation = operations_[number];
  CHECK(operation.completion == Completion::kOpen);
  operation.completion = Completion::kOk;
  operation.reply = reply;
  operation.completed = ++events_;
  operation.completed_at = now;
  ++counts_.ok;
  if (operation.mutates() && reply.done) ++counts_.writes_done;
}

void History::complete_scan(OperationNumber number, SeenPage page, Time now) {
  CHECK(operations_[number].function == Function::kScan);
  operations_[number].page = static_cast<uint32_t>(pages_.size());
  pages_.push_back(std::move(page));
  complete_ok(number, Reply{}, now);
}

void History::complete_error(OperationNumber number, ErrorCode error, Time now) {
  Operation& operation = operations_[number];
  CHECK(operation.completion == Completion::kOpen);
  bool doubtful = operation.mutates() && did_it_happen(error) == Happened::kUnknown;
  operation.completion = doubtful ? Completion::kInfo : Completion::kFail;
  operation.error = error;
  operation.completed = ++events_;
  operation.completed_at = now;
  ++(doubtful ? counts_.info : counts_.fail);
}

namespace {

std::string_view verb(Function function) {
  switch (function) {
    case Function::kWrite: return "set";
    case Function::kDelete: return "delete";
    case Function::kRead: return "get";
    case Function::kExists: return "exists";
    case Function::kScan: return "scan";
  }
  UNREACHABLE("function");
}

std::string value_text(ValueId value) {
  if (value == kBlank) return "blank";
  if (value == kNothing) return "nothing";
  if (value == kGarbage) return "GARBAGE";
  return std::to_string(value);
}

std::string conditions_text(const WriteConditions& c) {
  std::string text;
  if (c.if_absent) text += " if-absent";
  if (c.if_exists) text += " if-exists";
  if (c.compare_value) text += " if-value=" + value_text(c.value);
  if (c.compare_revision) text += fmt::format(" if-revision={}", c.revision);
  return text;
}

std::string reply_text(const Operation& op, const SeenPage* page, const History& history) {
  if (op.completion == Completion::kOpen) return "never answered";
  if (op.completion == Completion::kFail) return fmt::format("failed: {}", name_of(op.error));
  if (op.completion == Completion::kInfo) return fmt::format("unknown: {}", name_of(op.error));
  std::string text;
  if (page) {
    for (const SeenItem& item : page->items)
      text += fmt::format("{}{}={} r{}", text.empty() ? "" : ", ", history.text(item.key),
                          value_text(item.value), item.revision);
    return "[" + text + (page->complete ? "]" : ", ...]");
  }
  if (op.function == Function::kRead)
    text = value_text(op.reply.value);
  else if (op.function == Function::kExists)
    text = op.reply.done ? "yes" : "no";
  else
    text = op.reply.done ? "done" : "not done";
  if (op.reply.revision != kNoRevision) text += fmt::format(" r{}", op.reply.revision);
  if (op.reply.stamp != kNoStamp) text += fmt::format(" stamp {}", op.reply.stamp);
  if (op.reply.replayed) text += " replayed";
  return text;
}

}  // namespace

std::string History::describe(OperationNumber number) const {
  const Operation& op = operations_[number];
  const SeenPage* page = op.function == Function::kScan && op.is_ok() ? &pages_[op.page] : nullptr;
  std::string what = fmt::format("{} {}", verb(op.function), names_[op.key]);
  if (op.function == Function::kWrite) what += "=" + value_text(op.value);
  return fmt::format(
      "#{} p{} {}{} -> {} [events {}..{}, {:.6f}s..{}]", number, op.process, what,
      conditions_text(op.conditions), reply_text(op, page, *this), op.invoked,
      op.completed ? std::to_string(op.completed) : "", double(op.invoked_at.nanos()) / 1e9,
      op.completed ? fmt::format("{:.6f}s", double(op.completed_at.nanos()) / 1e9) : "");
}

}  // namespace kahuna::sim
