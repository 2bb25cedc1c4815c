// A buffered reader over a stream of the application, which has nothing but its calls.
#include <support/own_stream.hpp>
#include <support/testing.hpp>

namespace {

template <class S>
using pair_of_streams = testing::flipped_pair<S>;
inline constexpr std::size_t operations_of_a_read = 1;

} // namespace

#define TESTING_OTHER_STREAMS 1
#undef TEMPLATE_LIST_TEST_CASE
#define TEMPLATE_LIST_TEST_CASE(name, tags, list)                                                  \
  INTERNAL_CATCH_TEMPLATE_LIST_TEST_CASE("own stream: " name, tags, list)
#include <scenarios/reader.cpp>
