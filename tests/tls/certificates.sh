#!/bin/sh
# Makes the certificates of the TLS tests in a new directory: certificates.sh DIRECTORY
#
#   root ------- good, ip, wildcard, expired, early, client   (NAME.pem with its chain, NAME.key)
#     `- issuer ------- chained (with the issuer), incomplete (without it)
#   other ------ stranger
set -eu
mkdir -p "$1"
cd "$1"

key() { # name
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
}
root() { # name
  key "$1"
  openssl req -x509 -new -key "$1.key" -subj "/CN=$1 of the tests" -days 3650 -out "$1.pem" \
    -addext "keyUsage=critical,keyCertSign,cRLSign"
}
# A certificate for a key of its own. Its extensions are read from standard input.
issue() { # name, issuer, days
  [ -f "$1.key" ] || key "$1"
  openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days "$3" \
    -extfile /dev/stdin -out "$1.pem"
  rm "$1.csr"
}
server() { # name, issuer, days, subjectAltName
  issue "$1" "$2" "$3" <<END
basicConstraints=CA:FALSE
extendedKeyUsage=serverAuth
subjectAltName=$4
END
}

{
  root root
  root other
  server good root 3650 "DNS:localhost,DNS:server.test"
  server ip root 3650 "IP:127.0.0.1,IP:::1"
  server wildcard root 3650 "DNS:*.server.test"
  server expired root -1 "DNS:localhost"
  server stranger other 3650 "DNS:localhost"
  issue issuer root 3650 <<END
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
END
  server incomplete issuer 3650 "DNS:localhost"
  cp incomplete.key chained.key
  cat incomplete.pem issuer.pem > chained.pem
  issue client root 3650 <<END
basicConstraints=CA:FALSE
extendedKeyUsage=clientAuth
END
} 2> log || { cat log >&2; exit 1; }
