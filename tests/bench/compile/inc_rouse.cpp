#include <rouse/rouse.hpp>
int main() {}
