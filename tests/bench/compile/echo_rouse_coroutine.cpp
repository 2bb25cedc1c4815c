// The smallest echo: the example itself.
#include "../../../examples/echo_coroutine.cpp"
