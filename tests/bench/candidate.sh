#!/bin/sh
# Starts the gateway for a side-by-side benchmark: candidate.sh LISTEN_PORT NEXT_HOP_PORT [dkim|ocr]
# Full inspection, the durable commit and two door processes; official mail of dept.gov.in from loopback.
# With "dkim" as third word outbound mail is signed (RSA-2048). With "ocr" words in pictures are read too, where tesseract is
# installed: seconds of processor time for each PDF with pictures, which no peer spends; without it pictures are what they are on a
# machine without tesseract, uninspectable and never clean.
set -e
here=$(cd "$(dirname "$0")/../.." && pwd)
state=${GATEWAY_BENCH_DIR:-/tmp/gateway-bench}-$1
rm -rf "$state" && mkdir -p "$state"
dkim=""
if [ "$3" = dkim ]; then
  openssl genrsa -out "$state/dkim.pem" 2048 2>/dev/null
  dkim="[[dkim]]
domain = \"dept.gov.in\"
selector = \"bench\"
key_file = \"$state/dkim.pem\""
fi
cat > "$state/gateway.toml" <<CONFIG
hostname = "gw.dept.gov.in"
state_dir = "$state/state"
workers = 2
[contacts]
postmaster = "postmaster@dept.gov.in"
[[listen]]
door = "smtp"
address = "127.0.0.1:$1"
[originators]
domains = ["dept.gov.in"]
networks = ["127.0.0.0/8"]
[[route]]
domains = ["*"]
next_hop = "127.0.0.1:$2"
tls = "none"
$dkim
CONFIG
[ "$3" = ocr ] || printf '[limits]\nocr_seconds = 0\n' >> "$state/gateway.toml"
exec "$here/.venv/bin/python" -m gateway run --config "$state/gateway.toml"
