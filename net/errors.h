// errno values as errors that people can act on.
#pragma once

#include <string_view>

#include "runtime/error.h"

namespace kahuna::net {

// The error for a failed system call: `what` names the object ("open journal/0001"), the text adds
// the system's reason. `number` is an errno value, positive.
Error error_from_errno(int number, std::string_view what);

}  // namespace kahuna::net
