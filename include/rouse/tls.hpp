// TLS over OpenSSL 3, which the program brings and links (-lssl -lcrypto). rouse.hpp does not
// include it.
#pragma once
#include <rouse/rouse.hpp>
#include <rouse/tls/error.hpp>
