#include "kahuna/node/reading.h"

namespace kahuna::node {
namespace {
constexpr uint32_t kScanLimitDefault = 100;
}  // namespace

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
