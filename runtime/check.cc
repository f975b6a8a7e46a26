#include "runtime/check.h"

#include <cstdio>
#include <cstdlib>

namespace kahuna {
namespace {
thread_local CheckContext context_ = nullptr;
}

void set_check_context(CheckContext context) {
  context_ = context;
}

void check_failed(const char* file, int line, const char* condition, const std::string& operands) {
  std::string where = context_ ? context_() : std::string();
  std::fprintf(stderr, "CHECK failed: %s%s%s%s at %s:%d%s%s\n", condition,
               operands.empty() ? "" : " (", operands.c_str(), operands.empty() ? "" : ")", file,
               line, where.empty() ? "" : " ", where.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace kahuna
