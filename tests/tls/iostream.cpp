// A std::iostream over a TLS socket: the same tests as over a plain one.
#include <tls/support/tls_testing.hpp>

namespace {

template <class S>
using pair_of_streams = testing::tls_pair<S>;
// Only `close` says goodbye.
inline constexpr auto after_destruction = rouse::tls::error::truncated;

} // namespace

#define TESTING_OTHER_STREAMS 1
#undef TEMPLATE_LIST_TEST_CASE
#define TEMPLATE_LIST_TEST_CASE(name, tags, list)                                                  \
  INTERNAL_CATCH_TEMPLATE_LIST_TEST_CASE("tls: " name, "[tls]" tags, list)
#include <scenarios/iostream.cpp>
