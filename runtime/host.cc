#include "runtime/host.h"

#include <algorithm>
#include <charconv>

namespace kahuna {

void File::write_durably_at(uint64_t offset, ByteView bytes, IoDone done) {
  write_at(offset, bytes, [this, done = std::move(done)](Result<size_t> written) mutable {
    if (!written) return done(std::move(written));
    sync([written = *written, done = std::move(done)](Result<> synced) mutable {
      if (!synced) return done(fail(std::move(synced.error())));
      done(written);
    });
  });
}

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

Result<Address> parse_address(std::string_view text) {
  auto bad = [&](std::string_view why) {
    return fail(ErrorCode::kInvalid, "bad address '" + std::string(text) +
                                         "': " + std::string(why) +
                                         "; write HOST:PORT, for example 127.0.0.1:2073");
  };
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("no port");
  std::string_view host = text.substr(0, colon), digits = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return bad("'[' without ']'");
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad("write an IPv6 address in brackets");
  }
  if (host.empty()) return bad("no host");
  uint32_t port = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port > 65535)
    return bad("the port must be 0..65535");
  return Address{std::string(host), static_cast<uint16_t>(port)};
}

std::string to_string(const Address& address) {
  bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace kahuna
