#!/bin/sh
# Makes the signed and encrypted messages of this folder (smime-*, pgp-*) with openssl and gpg. The keys are thrown away.
# Usage: sh tests/corpus/content/signed.sh
set -eu
cd "$(dirname "$0")"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
umask 077

openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 3650 -subj "/O=Department/CN=Section Officer" 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out ek.pem
openssl req -x509 -key ek.pem -out ec.pem -days 3650 -subj "/O=Department/CN=Section Officer" 2>/dev/null
openssl req -x509 -newkey rsa:1024 -nodes -keyout sk.pem -out sc.pem -days 3650 -subj "/CN=short" 2>/dev/null
printf 'Content-Type: text/plain; charset=us-ascii\n\nCONFIDENTIAL\n\nThe note is put up for approval.\n' >marked.txt
printf 'Content-Type: text/plain; charset=us-ascii\n\nThe papers are enclosed.\n' >plain.txt
head -c 2000 /dev/zero | tr '\0' 'x' >long.txt
who="-from officer@dept.gov.in -to desk@finance.nic.in -subject Papers"

# detached: multipart/signed
openssl cms -sign -md sha256 -signer c.pem -inkey k.pem -in marked.txt -out "$here/smime-detached-marked.eml" $who
openssl cms -sign -md sha256 -signer c.pem -inkey k.pem -in plain.txt -out "$here/smime-detached.eml" $who
openssl cms -sign -binary -md sha256 -signer c.pem -inkey k.pem -in plain.txt -outform DER -out "$here/smime-detached.p7s"
# opaque: the content is inside
openssl cms -sign -nodetach -md sha256 -signer c.pem -inkey k.pem -in marked.txt -out "$here/smime-opaque-marked.eml" $who
openssl cms -sign -nodetach -md sha256 -signer c.pem -inkey k.pem -in plain.txt -out "$here/smime-opaque.eml" $who
openssl cms -sign -nodetach -binary -md sha256 -signer c.pem -inkey k.pem -in marked.txt -outform DER -out "$here/smime-opaque.p7m"
openssl cms -sign -nodetach -binary -stream -md sha256 -signer c.pem -inkey k.pem -in marked.txt -outform DER -out "$here/smime-opaque-stream.p7m"
openssl cms -sign -nodetach -binary -md sha256 -signer c.pem -inkey k.pem -in marked.txt -outform PEM -out "$here/smime-opaque.pem"
openssl cms -sign -nodetach -binary -md sha256 -signer c.pem -inkey k.pem -in "$here/page.pdf" -outform DER -out "$here/smime-opaque-pdf.p7m"
openssl smime -sign -nodetach -binary -signer c.pem -inkey k.pem -in plain.txt -outform DER -out "$here/smime-opaque-v15.p7m"
# encrypted
for cipher in aes-256-cbc aes-192-cbc aes-128-cbc des3; do
    openssl cms -encrypt -$cipher -binary -in long.txt -outform DER -out "$here/smime-$cipher.p7m" c.pem
done
for cipher in aes-256-gcm aes-128-gcm; do
    openssl cms -encrypt -$cipher -binary -in long.txt -outform DER -out "$here/smime-$cipher.p7m" c.pem
done
openssl cms -encrypt -rc2-40 -provider legacy -provider default -binary -in long.txt -outform DER -out "$here/smime-rc2.p7m" c.pem
openssl cms -encrypt -aes-256-cbc -binary -in long.txt -outform DER -out "$here/smime-ecdh.p7m" ec.pem
openssl cms -encrypt -aes-256-cbc -binary -in long.txt -outform DER -out "$here/smime-short-key.p7m" sc.pem
openssl cms -encrypt -aes-256-cbc -binary -stream -in long.txt -outform DER -out "$here/smime-aes-256-stream.p7m" c.pem
openssl cms -EncryptedData_encrypt -aes-256-cbc -secretkey 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F -binary -in long.txt \
    -outform DER -out "$here/smime-encrypted-data.p7m"
openssl cms -digest_create -binary -in marked.txt -outform DER -out "$here/smime-digest.p7m"
openssl cms -data_create -binary -in marked.txt -outform DER -out "$here/smime-data.p7m"
openssl cms -compress -binary -in marked.txt -outform DER -out "$here/smime-compressed.p7m" 2>/dev/null || rm -f "$here/smime-compressed.p7m"
# signed over encrypted
openssl cms -encrypt -aes-256-cbc -in long.txt -out sealed.eml c.pem
openssl cms -sign -nodetach -md sha256 -signer c.pem -inkey k.pem -in sealed.eml -out "$here/smime-signed-over-enveloped.eml" $who

# openssl leaves the ends of lines mixed; on the wire they are all CRLF
for file in "$here"/smime-*.eml; do
    sed -i -e 's/\r*$/\r/' "$file"
done

# OpenPGP
export GNUPGHOME="$work/gnupg"
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key 'Officer <officer@dept.gov.in>' ed25519 sign never 2>/dev/null
run="gpg --batch --quiet --yes --pinentry-mode loopback --passphrase"
$run '' --armor --detach-sign -o "$here/pgp-detached.asc" plain.txt
$run '' --detach-sign -o "$here/pgp-detached.sig" plain.txt
$run '' --clearsign -o "$here/pgp-clearsigned.txt" marked.txt
$run '' --armor --sign -o "$here/pgp-opaque.asc" marked.txt
gpgconf --homedir "$GNUPGHOME" --kill all
