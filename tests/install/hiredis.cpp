// hiredis, blocking, against redis-server: each request waits 100 ms for a list that stays empty.
#include "measure.hpp"

#include <hiredis/hiredis.h>

#include <cstdlib>
#include <string>

int main(int, char** arguments) {
  const int port = std::atoi(arguments[1]);
  const auto nothing = [](int) {};
  return measure::compare("hiredis", nothing, [port](int i) {
    redisContext* c = redisConnect("127.0.0.1", port);
    if (!c || c->err) {
      std::printf("connect: %s\n", c ? c->errstr : "no memory");
      redisFree(c);
      return false;
    }
    auto* reply = static_cast<redisReply*>(redisCommand(c, "BLPOP empty%d 0.1", i));
    bool right = reply && reply->type == REDIS_REPLY_NIL;
    freeReplyObject(reply);
    const std::string value = "value " + std::to_string(i);
    reply = static_cast<redisReply*>(redisCommand(c, "ECHO %b", value.data(), value.size()));
    right = right && reply && reply->str == value;
    freeReplyObject(reply);
    if (!right) std::printf("request %d: %s\n", i, c->errstr);
    redisFree(c);
    return right;
  });
}
