// Requests to bytes and responses to results: the only place that knows the wire shapes of both.
#pragma once

#include "kahuna/client/operation.h"
#include "runtime/bytes.h"

namespace kahuna::client {

// Finishes `builder` (cleared first) with the request of the present attempt; valid until its next
// use. `id` is echoed by the server; `time_left` is what the server is given.
ByteView encode_request(flatbuffers::FlatBufferBuilder& builder, const Operation& operation,
                        uint64_t id, uint64_t client, Watermark watermark, Duration time_left);

// True when a response without an error has the shape that an answer to `kind` must have.
bool well_formed(wire::RequestKind kind, const wire::Response& response);

// Calls the operation's callback with a well-formed response. The response may die inside.
void complete_with_response(Completion done, const wire::Response& response);

}  // namespace kahuna::client
