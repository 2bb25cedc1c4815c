// TLS over OpenSSL 3, which the program brings and links (-lssl -lcrypto). rouse.hpp does not
// include it. It is new and not complete: see the classes for what they offer.
#pragma once
#include <rouse/rouse.hpp>
#include <rouse/tls/connect.hpp>
#include <rouse/tls/context.hpp>
#include <rouse/tls/error.hpp>
#include <rouse/tls/serve.hpp>
#include <rouse/tls/session_cache.hpp>
#include <rouse/tls/socket.hpp>
#include <rouse/tls/version.hpp>
