#!/bin/sh
# Makes the certificates of the TLS tests in a new directory: certificates.sh DIRECTORY
#
#   root ------- good, ip, wildcard, expired, early, client   (NAME.pem with its chain, NAME.key)
#     `- issuer ------- chained (with the issuer), incomplete (without it)
#   other ------ stranger, foreign
#
# Faulty ones: expired, early (not valid yet), purpose (for clients), self (signed by itself), partial
# (s*.server.test), common (has its name as the common name only), outside (its issuer may only sign
# for allowed.test), revoked (in root.crl).
# Files of other kinds: encrypted.key and chained.p12 have the password "secret"; outdated.crl.
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
# A certificate for that time: YYYYMMDDHHMMSSZ
dated() { # name, issuer, begin, end
  key "$1"
  openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
  printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n' > "$1.ext"
  authority "$2" -batch -notext -in "$1.csr" -out "$1.pem" -startdate "$3" -enddate "$4" \
    -extfile "$1.ext"
  rm "$1.csr" "$1.ext"
}
authority() { # name, arguments of openssl ca
  issuer=$1
  shift
  touch "$issuer.index"
  cat > "$issuer.cnf" <<END
[ca]
default_ca=own
[own]
database=$issuer.index
new_certs_dir=.
rand_serial=yes
default_md=sha256
default_crl_days=3650
policy=any
unique_subject=no
[any]
commonName=supplied
END
  openssl ca -config "$issuer.cnf" -cert "$issuer.pem" -keyfile "$issuer.key" "$@"
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
  cp client.key foreign.key
  issue foreign other 3650 <<END
basicConstraints=CA:FALSE
extendedKeyUsage=clientAuth
END

  dated early root 20900101000000Z 20910101000000Z
  issue purpose root 3650 <<END
basicConstraints=CA:FALSE
extendedKeyUsage=clientAuth
subjectAltName=DNS:localhost
END
  key self
  openssl req -x509 -new -key self.key -subj "/CN=self" -days 3650 -out self.pem \
    -addext "subjectAltName=DNS:localhost"
  issue common root 3650 <<END
basicConstraints=CA:FALSE
extendedKeyUsage=serverAuth
END
  server partial root 3650 "DNS:s*.server.test"
  issue constrained root 3650 <<END
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
nameConstraints=critical,permitted;DNS:allowed.test
END
  server outside constrained 3650 "DNS:localhost"
  cat constrained.pem >> outside.pem

  server revoked root 3650 "DNS:localhost"
  authority root -revoke revoked.pem
  authority root -gencrl -out root.crl
  authority root -gencrl -out outdated.crl -crl_lastupdate 20200101000000Z \
    -crl_nextupdate 20210101000000Z

  openssl ec -in good.key -aes256 -passout pass:secret -out encrypted.key
  openssl pkcs12 -export -in chained.pem -inkey chained.key -passout pass:secret -out chained.p12
} 2> log || { cat log >&2; exit 1; }
