// Any text that parses as an endpoint is written as a text that parses as the same endpoint.
#include "fuzz.hpp"

#include <rouse/rouse.hpp>

#include <functional>
#include <string>
#include <system_error>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::error_code ec;
  const auto read = rouse::endpoint::parse(text, ec);
  if (ec) {
    fuzz::require(read == rouse::endpoint{}, "a text that is refused gives no endpoint");
    return 0;
  }
  const auto again = rouse::endpoint::parse(to_string(read), ec);
  fuzz::require(!ec, "what is written can be read");
  fuzz::require(again == read, "and is the same endpoint");
  fuzz::require(std::hash<rouse::endpoint>{}(again) == std::hash<rouse::endpoint>{}(read),
                "with the same hash");
  return 0;
}
