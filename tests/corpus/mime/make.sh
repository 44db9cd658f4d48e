#!/bin/sh
# Makes good-*.eml with the tools that people's mail comes from: swaks, openssl (S/MIME), gpg (PGP), Python's email with its
# several policies, LibreOffice for the attachment. Run in this folder; needs those tools. The files are committed, since a
# checkout has only pip packages. Two runs differ in dates, boundaries and signatures.
set -eu
here=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
printf 'Dear Sir,\n\nThe papers of Monday are enclosed.\nआपका पत्र मिला।\n\n-- \nSection Officer\n' > body.txt
printf 'Note for the file\n\nThe grant was released on Monday.\n' > note.txt
soffice --headless --convert-to odt note.txt >/dev/null 2>&1 || cp note.txt note.odt
swaks --silent 3 --dump-mail --from officer@dept.gov.in --to desk@finance.nic.in --body @body.txt --header 'Subject: Papers' > "$here/good-swaks-text.eml"
swaks --silent 3 --dump-mail --from officer@dept.gov.in --to desk@finance.nic.in --body @body.txt --attach-type application/vnd.oasis.opendocument.text \
  --attach-name note.odt --attach @note.odt --header 'Subject: Papers' > "$here/good-swaks-attachment.eml"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=officer@dept.gov.in >/dev/null 2>&1
openssl smime -sign -text -in body.txt -signer cert.pem -inkey key.pem -from officer@dept.gov.in -to desk@finance.nic.in -subject Papers > "$here/good-smime-signed.eml"
openssl smime -sign -nodetach -text -in body.txt -signer cert.pem -inkey key.pem -from officer@dept.gov.in -to desk@finance.nic.in -subject Papers \
  > "$here/good-smime-opaque.eml"
openssl smime -encrypt -aes-256-cbc -in body.txt -from officer@dept.gov.in -to desk@finance.nic.in -subject Papers cert.pem > "$here/good-smime-encrypted.eml"
GNUPGHOME="$work/gnupg"; export GNUPGHOME; mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key officer@dept.gov.in default default never 2>/dev/null
gpg --batch --quiet --clearsign -o body.asc body.txt
gpg --batch --quiet --armor --detach-sign -o body.sig body.txt
{ printf 'From: Officer <officer@dept.gov.in>\nTo: desk@finance.nic.in\nSubject: Papers\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n'
  printf 'Content-Transfer-Encoding: 8bit\n\n'; cat body.asc; } > "$here/good-pgp-clearsigned.eml"
python3 - "$here" <<'P'
import email.policy, sys
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
here = Path(sys.argv[1])
body, odt, signature = Path("body.txt").read_text(), Path("note.odt").read_bytes(), Path("body.sig").read_text()
message = EmailMessage()
message["From"], message["To"], message["Subject"] = "Officer <officer@dept.gov.in>", "Desk <desk@finance.nic.in>", "कागज़ात"
message.set_content(body)
message.add_alternative("<html><body><p>The papers are enclosed.</p></body></html>", subtype="html")
message.add_attachment(odt, maintype="application", subtype="vnd.oasis.opendocument.text", filename="टिप्पणी – a long name that has to be split into pieces.odt")
(here / "good-python-alternative.eml").write_bytes(message.as_bytes(policy=email.policy.SMTP))
outer = EmailMessage()
outer["From"], outer["To"], outer["Subject"] = "Officer <officer@dept.gov.in>", "Desk <desk@finance.nic.in>", "Fwd: papers"
outer.set_content("See below.\n")
outer.add_attachment(message)
(here / "good-python-forwarded.eml").write_bytes(outer.as_bytes(policy=email.policy.SMTP))
old = MIMEMultipart("signed", protocol="application/pgp-signature", micalg="pgp-sha512")
old["From"], old["To"], old["Subject"] = "officer@dept.gov.in", "desk@finance.nic.in", "Papers"
old.attach(MIMEText(body, "plain", "utf-8"))
old.attach(MIMEApplication(signature.encode(), "pgp-signature", _encoder=lambda part: None, name="signature.asc"))
(here / "good-python-pgp-mime.eml").write_bytes(old.as_bytes())
P
# swaks and openssl write mixed line ends into a file; on the wire there is only CRLF, and the tests put that back.
for file in "$here"/good-*.eml; do
  tr -d '\r' < "$file" > one && cat one > "$file"
done
