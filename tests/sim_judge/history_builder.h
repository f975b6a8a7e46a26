// Writes small histories by hand. Operations overlap as the calls say: begin() ... end().
#pragma once

#include <string_view>

#include "sim/history.h"

namespace kahuna::sim {

class HistoryBuilder {
 public:
  OperationNumber begin(Function f, std::string_view key, ValueId value = kNothing,
                        WriteConditions conditions = {}) {
    Operation op;
    op.function = f;
    op.key = history.name(key);
    op.value = value;
    op.conditions = conditions;
    op.process = history.next_process();
    op.client = op.process;
    return history.invoke(op, tick());
  }
  OperationNumber begin_set(std::string_view key, ValueId value, WriteConditions c = {}) {
    return begin(Function::kWrite, key, value, c);
  }
  void done(OperationNumber n, int64_t revision, uint64_t stamp = kNoStamp) {
    Reply reply;
    reply.done = true;
    reply.revision = revision;
    reply.stamp = stamp;
    history.complete_ok(n, reply, tick());
  }
  void refused(OperationNumber n, int64_t revision) {
    Reply reply;
    reply.revision = revision;
    history.complete_ok(n, reply, tick());
  }
  void saw(OperationNumber n, ValueId value, int64_t revision = kNoRevision) {
    Reply reply;
    reply.value = value;
    reply.revision = revision;
    history.complete_ok(n, reply, tick());
  }
  void exists(OperationNumber n, bool yes, int64_t revision = kNoRevision) {
    Reply reply;
    reply.done = yes;
    reply.revision = revision;
    history.complete_ok(n, reply, tick());
  }
  void unknown(OperationNumber n) { history.complete_error(n, ErrorCode::kUnknown, tick()); }
  void failed(OperationNumber n) { history.complete_error(n, ErrorCode::kUnavailable, tick()); }
  void page(OperationNumber n, std::vector<SeenItem> items, bool complete = true,
            std::string after = "") {
    history.complete_scan(n, SeenPage{after, complete, std::move(items)}, tick());
  }
  SeenItem item(std::string_view key, ValueId value, int64_t revision) {
    return SeenItem{history.name(key), value, revision, kNoStamp};
  }

  void set(std::string_view key, ValueId value, int64_t revision) {
    done(begin_set(key, value), revision);
  }
  void remove(std::string_view key, int64_t revision) {
    done(begin(Function::kDelete, key), revision);
  }
  void read(std::string_view key, ValueId value, int64_t revision = kNoRevision) {
    saw(begin(Function::kRead, key), value, revision);
  }

  History history;

 private:
  Time tick() { return Time::from_nanos(now_ += 1000); }
  int64_t now_ = 0;
};

}  // namespace kahuna::sim
