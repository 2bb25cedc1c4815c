// TLS over OpenSSL 3, which the program brings and links (-lssl -lcrypto; on Windows also
// -lcrypt32). rouse.hpp does not include it.
#pragma once
#include <rouse/rouse.hpp>
#include <rouse/tls/connect.hpp>
#include <rouse/tls/context.hpp>
#include <rouse/tls/error.hpp>
#include <rouse/tls/serve.hpp>
#include <rouse/tls/session_cache.hpp>
#include <rouse/tls/socket.hpp>
#include <rouse/tls/version.hpp>
