#include "tests/cluster/stored_state.h"

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

#include "kahuna/engine/rocks_engine.h"
#include "kahuna/partition/rows.h"
#include "net/loop.h"
#include "runtime/check.h"

namespace kahuna::testing {
namespace {

using engine::RowKind;

class Rows {
 public:
  bool add(std::string_view row, std::string_view value) {
    switch (RowKind(static_cast<uint8_t>(row[0]))) {
      case RowKind::kRecord: return add_record(row, value);
      case RowKind::kOperations: return add_operations(row, value);
      case RowKind::kMembers: return add_row(row, value);
      case RowKind::kState: return add_floor(row, value);
      default: return true;
    }
  }
  std::vector<std::string> take() {
    for (const auto& [partition, stamp, text] : operations_)
      if (stamp > floors_[partition]) add_row(partition, text);
    std::sort(rows_.begin(), rows_.end());
    return std::move(rows_);
  }

 private:
  bool add_row(std::string_view row, std::string_view value) {
    rows_.push_back(std::string(row) + "=" + std::string(value));
    return true;
  }
  bool add_record(std::string_view row, std::string_view value) {
    if (partition::position_in_record_row(row) == newest_) return true;
    newest_ = partition::position_in_record_row(row);
    return add_row(row, value);
  }
  bool add_operations(std::string_view row, std::string_view value) {
    std::vector<partition::OperationRow> operations;
    CHECK(partition::read_operations_row(row, value, operations).has_value());
    for (const partition::OperationRow& operation : operations) {
      std::string one;
      partition::begin_operations_value(one);
      partition::append_operation(operation, one);
      operations_.emplace_back(row.substr(1, 8), operation.stamp, one);
    }
    return true;
  }

  bool add_floor(std::string_view row, std::string_view value) {
    auto state = partition::read_state_value(value);
    CHECK(state.has_value());
    floors_[std::string(row.substr(1, 8))] = state->floor;
    return true;
  }

  std::vector<std::string> rows_;
  std::vector<std::tuple<std::string, Watermark, std::string>> operations_;  // by partition
  std::map<std::string, Watermark> floors_;
  std::string newest_;
};

}  // namespace

std::vector<std::string> stored_state(const std::string& directory) {
  auto loop = net::Loop::create({.io = net::IoBackend::kEpoll, .data_dir = directory});
  CHECK(loop.has_value());
  Host& host = (*loop)->host();
  Fibers fibers(*host.clock, *host.scheduler);
  std::unique_ptr<engine::Engine> engine;
  Rows rows;
  fibers.spawn("read", [&](Suspend suspend) {
    auto opened = engine::open_rocks_engine(suspend, host, fibers, engine::RocksOptions());
    if (!opened) check_failed(__FILE__, __LINE__, "open", opened.error().text);
    engine = std::move(*opened);
    auto read = engine->scan("", "\xff", [&](std::string_view row, std::string_view value) {
      return rows.add(row, value);
    });
    if (!read) check_failed(__FILE__, __LINE__, "scan", read.error().text);
    (*loop)->stop();
  });
  (*loop)->run();
  engine.reset();
  return rows.take();
}

}  // namespace kahuna::testing
