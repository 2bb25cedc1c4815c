// libcurl's easy interface against nginx, whose backend answers after 100 ms.
#include "measure.hpp"

#include <curl/curl.h>

#include <string>

static std::size_t append(char* data, std::size_t size, std::size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

int main(int, char** arguments) {
  const std::string url = arguments[1], certificate = arguments[2];
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const auto nothing = [](int) {};
  const int result = measure::compare(url.substr(0, url.find(':')).c_str(), nothing, [&](int i) {
    const std::string path = url + "/" + std::to_string(i);
    std::string text;
    CURL* const c = curl_easy_init();
    curl_easy_setopt(c, CURLOPT_URL, path.c_str());
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CAINFO, certificate.c_str());
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &append);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &text);
    const CURLcode code = curl_easy_perform(c);
    if (code != CURLE_OK) std::printf("%s: %s\n", path.c_str(), curl_easy_strerror(code));
    curl_easy_cleanup(c);
    return text == "/" + std::to_string(i) + "\n";
  });
  curl_global_cleanup();
  return result;
}
