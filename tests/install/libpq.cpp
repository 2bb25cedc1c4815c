// libpq, blocking, against PostgreSQL: each request sleeps 100 ms in the server. Fibers open the
// connections before, because the server starts a process for each.
#include "measure.hpp"

#include <libpq-fe.h>

#include <string>
#include <vector>

int main(int, char** arguments) {
  std::vector<PGconn*> connections(measure::many);
  const auto connect = [&](int i) { connections[i] = PQconnectdb(arguments[1]); };
  const int result = measure::compare("libpq", connect, [&](int i) {
    PGconn* const c = connections[i];
    const std::string question = "select pg_sleep(0.1), " + std::to_string(i);
    PGresult* const r = PQexec(c, question.c_str());
    const bool right =
        PQresultStatus(r) == PGRES_TUPLES_OK && std::to_string(i) == PQgetvalue(r, 0, 1);
    if (!right) std::printf("request %d: %s\n", i, PQerrorMessage(c));
    PQclear(r);
    return right;
  });
  for (PGconn* c : connections) PQfinish(c);
  return result;
}
