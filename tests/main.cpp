// The tests' main: refuses to run on another engine than the one that was promised.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#define TESTING_MAIN
#include <support/compiled_once.hpp>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

int main(int argc, char** argv) {
  const std::string report = rouse::callbacks{}.engine_report();
  std::fprintf(stderr, "engine: %s\n", report.c_str());
  if (const char* promised = std::getenv("ROUSE_PROMISED_ENGINE");
      promised && report.rfind(promised, 0) != 0) {
    std::fprintf(stderr, "promised: %s\n", promised);
    return 1;
  }
  std::cout << std::unitbuf; // a test that hangs is the one after the last that is reported
  return Catch::Session().run(argc, argv);
}
