// A buffered reader over a TLS socket: the same tests as over a plain one.
#include <tls/support/tls_testing.hpp>

namespace {

template <class S>
using pair_of_streams = testing::tls_pair<S>;
inline constexpr std::size_t operations_of_a_read = 2; // and the connection's own

} // namespace

#define TESTING_OTHER_STREAMS 1
#undef TEMPLATE_LIST_TEST_CASE
#define TEMPLATE_LIST_TEST_CASE(name, tags, list)                                                  \
  INTERNAL_CATCH_TEMPLATE_LIST_TEST_CASE("tls: " name, "[tls]" tags, list)
#include <scenarios/reader.cpp>
