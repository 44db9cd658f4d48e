#!/bin/sh
# Makes the signed messages of this folder (signed-*.eml) and the public key of the OpenPGP ones, with openssl and gpg.
# The private keys are thrown away. Usage: sh tests/corpus/ordinary/signed.sh
set -eu
cd "$(dirname "$0")"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
umask 077
who="-from asha.verma@it.gujarat.gov.in -to desk@finance.nic.in -subject Minutes"
openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 3650 \
    -subj "/O=Department/CN=Asha Verma/emailAddress=asha.verma@it.gujarat.gov.in" 2>/dev/null

# What Outlook signs: text, HTML and a file, 8-bit text made 7-bit by its encoding, trailing blanks and empty lines kept.
cat >inner.txt <<'X'
Content-Type: multipart/mixed;
	boundary="----=_NextPart_000_000A_01DB38F6.00000000"

------=_NextPart_000_000A_01DB38F6.00000000
Content-Type: multipart/alternative;
	boundary="----=_NextPart_001_000B_01DB38F6.00000000"


------=_NextPart_001_000B_01DB38F6.00000000
Content-Type: text/plain;
	charset="utf-8"
Content-Transfer-Encoding: quoted-printable

The minutes are enclosed. =E0=A4=A7=E0=A4=A8=E0=A5=8D=E0=A4=AF=E0=A4=B5=E0=
=A4=BE=E0=A4=A6=20

=20


------=_NextPart_001_000B_01DB38F6.00000000
Content-Type: text/html;
	charset="utf-8"
Content-Transfer-Encoding: quoted-printable

<html><head><meta name=3DGenerator content=3D"Microsoft Word 15 (filtered med=
ium)"></head><body lang=3DEN-IN><p class=3DMsoNormal>The minutes are enclosed=
.<o:p></o:p></p></body></html>
------=_NextPart_001_000B_01DB38F6.00000000--

------=_NextPart_000_000A_01DB38F6.00000000
Content-Type: text/csv;
	name="villages.csv"
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment;
	filename="villages.csv"

village,houses
Khadi,120
From the hills,7

------=_NextPart_000_000A_01DB38F6.00000000--
X
sed -i -e 's/\r*$/\r/' inner.txt
openssl cms -sign -binary -md sha256 -signer c.pem -inkey k.pem -in inner.txt -out "$here/signed-smime-outlook.eml" $who
openssl cms -sign -nodetach -md sha256 -signer c.pem -inkey k.pem -in inner.txt -out "$here/signed-smime-opaque.eml" $who

export GNUPGHOME="$work/gnupg"
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key "Asha Verma <asha.verma@it.gujarat.gov.in>" ed25519 sign never
gpg --batch --quiet --armor --export >"$here/signed-key.asc"

head_of() {
    printf '%s\n' 'Message-ID: <pgp1@it.gujarat.gov.in>' 'Date: Tue, 17 Nov 2026 17:20:00 +0530' 'MIME-Version: 1.0' \
        'User-Agent: Mozilla Thunderbird' 'To: desk@finance.nic.in' 'From: Asha Verma <asha.verma@it.gujarat.gov.in>' 'Subject: Minutes'
}
# Thunderbird: protected headers and the key beside the text, all of it signed.
{
    printf '%s\n' 'Content-Type: multipart/mixed; boundary="------------in0"; protected-headers="v1"' \
        'From: Asha Verma <asha.verma@it.gujarat.gov.in>' 'To: desk@finance.nic.in' 'Message-ID: <pgp1@it.gujarat.gov.in>' \
        'Subject: Minutes' '' '--------------in0' 'Content-Type: multipart/mixed; boundary="------------in1"' '' '--------------in1' \
        'Content-Type: text/plain; charset=UTF-8; format=flowed' 'Content-Transfer-Encoding: base64' '' \
        'VGhlIG1pbnV0ZXMgYXJlIG9uIHRoZSBpbnRyYW5ldC4g4KSn4KSo4KWN4KSv4KS14KS+4KSmLg0K' '' \
        '--------------in1' 'Content-Type: application/pgp-keys; name="OpenPGP_0x0000000000000000.asc"' \
        'Content-Disposition: attachment; filename="OpenPGP_0x0000000000000000.asc"' 'Content-Description: OpenPGP public key' \
        'Content-Transfer-Encoding: quoted-printable' ''
    sed -e 's/=/=3D/g' "$here/signed-key.asc"
    printf '%s\n' '' '--------------in1--' '' '--------------in0--'
} | sed -e 's/\r*$/\r/' >part.txt
gpg --batch --quiet --armor --digest-algo SHA256 --detach-sign --output part.asc part.txt
{
    head_of
    printf '%s\n' 'Content-Type: multipart/signed; micalg=pgp-sha256;' ' protocol="application/pgp-signature";' ' boundary="------------out0"' '' \
        'This is an OpenPGP/MIME signed message (RFC 4880 and 3156)' '--------------out0'
    cat part.txt
    printf '%s\n' '' '--------------out0' 'Content-Type: application/pgp-signature; name="OpenPGP_signature.asc"' \
        'Content-Description: OpenPGP digital signature' 'Content-Disposition: attachment; filename="OpenPGP_signature.asc"' ''
    cat part.asc
    printf '%s\n' '' '--------------out0--'
} >"$here/signed-pgp-thunderbird.eml"
# Clear-signed text, as command-line programs still send it.
printf '%s\n' 'The minutes are on the intranet.' '- a line with a dash' 'From the hall: it is being painted.' >clear.txt
{
    head_of
    printf '%s\n' 'Content-Type: text/plain; charset=utf-8' ''
    gpg --batch --quiet --clearsign --output - clear.txt
} >"$here/signed-pgp-inline.eml"
for file in "$here"/signed-*.eml; do
    sed -i -e 's/\r*$/\r/' "$file"
done
