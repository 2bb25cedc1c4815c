// libcurl's easy interface against nginx, which forwards to a server that waits 100 ms.
#include "measure.hpp"

#include <curl/curl.h>

#include <string>
#include <vector>

static std::size_t append(char* data, std::size_t size, std::size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

// The requests of one fiber, over the connection that its handle keeps.
struct fetch {
  std::string path, text;
  CURL* handle = nullptr;

  bool perform() {
    text.clear();
    const CURLcode code = curl_easy_perform(handle);
    if (code != CURLE_OK) std::printf("%s: %s\n", path.c_str(), curl_easy_strerror(code));
    return text == path.substr(path.rfind('/')) + "\n";
  }
};

int main(int, char** arguments) {
  const std::string url = arguments[1], certificate = arguments[2];
  curl_global_init(CURL_GLOBAL_DEFAULT);
  std::vector<fetch> fetches(measure::many);
  const auto connect = [&](int i) {
    fetch& f = fetches[static_cast<std::size_t>(i)];
    f.path = url + "/" + std::to_string(i);
    f.handle = curl_easy_init();
    curl_easy_setopt(f.handle, CURLOPT_URL, f.path.c_str());
    curl_easy_setopt(f.handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(f.handle, CURLOPT_CAINFO, certificate.c_str());
    curl_easy_setopt(f.handle, CURLOPT_WRITEFUNCTION, &append);
    curl_easy_setopt(f.handle, CURLOPT_WRITEDATA, &f.text);
    f.perform();
  };
  const int result = measure::compare(url.substr(0, url.find(':')).c_str(), connect, [&](int i) {
    return fetches[static_cast<std::size_t>(i)].perform();
  });
  for (fetch& f : fetches) curl_easy_cleanup(f.handle);
  curl_global_cleanup();
  return result;
}
