#include "kahuna/node/reading.h"

namespace kahuna::node {
namespace {
constexpr uint32_t kScanLimitDefault = 100;
}  // namespace

size_t bytes_of(const ReadAnswer& answer) {
  size_t bytes = answer.record ? answer.record->value.size() : 0;
  for (const partition::ScanItem& item : answer.page.items)
    bytes += item.key.size() + item.record.value.size();
  return bytes;
}

Result<ReadAnswer> read_applied(partition::StateMachine& state, const ReadRequest& request) {
  ReadAnswer answer;
  if (request.kind == wire::RequestKind::Scan) {
    ASSIGN_OR_RETURN(answer.page, state.scan(request.key, request.cursor,
                                             request.limit ? request.limit : kScanLimitDefault));
  } else {
    ASSIGN_OR_RETURN(answer.record, state.get(request.key));
  }
  return answer;
}

}  // namespace kahuna::node
