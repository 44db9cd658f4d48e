#!/bin/sh
# Makes the files of this folder with real tools. Needs qpdf, 7z, zip, LibreOffice, openssl, gpg, and Python with reportlab,
# python-docx, pillow, msoffcrypto-tool and pypdf. The results are committed, since CI has only pip packages.
# Usage: PYTHON=.venv/bin/python sh tests/corpus/content/make.sh
set -eu
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$PYTHON" documents.py "$work"
cp "$work"/note.docx "$work"/page.pdf "$work"/annotated.pdf "$work"/form.pdf "$work"/revised.pdf "$work"/picture.pdf .
cp "$work"/p.png "$work"/p.jpg "$work"/p.gif "$work"/p.tif "$work"/p.webp "$work"/p.bmp "$work"/p.ico .

# PDF protection
long="$work/long.pdf"
qpdf --encrypt user owner 256 -- "$long" pdf-aes256.pdf
qpdf --encrypt "" owner 256 -- "$long" pdf-owner-only.pdf
qpdf --encrypt user "" 256 --allow-insecure -- "$long" pdf-empty-owner.pdf
qpdf --allow-weak-crypto --encrypt user owner 128 --use-aes=y -- "$long" pdf-aes128.pdf
qpdf --allow-weak-crypto --encrypt user owner 40 -- "$long" pdf-rc4.pdf
qpdf --object-streams=generate "$work/annotated.pdf" pdf-object-streams.pdf
qpdf --linearize page.pdf pdf-linearized.pdf
printf 'CONFIDENTIAL\n\nAnnex to the note.\n' >"$work/annex.txt"
qpdf page.pdf --add-attachment "$work/annex.txt" --filename=annex.txt -- pdf-attachment.pdf

# zip
( cd "$work" && cp long.txt other.txt inner/ 2>/dev/null || { mkdir inner && cp long.txt other.txt inner/; } )
here=$PWD
cd "$work"
rm -f "$here"/zip-*.zip "$here"/*.7z
zip -q -X "$here/zip-plain.zip" long.txt other.txt
zip -q -X -P otter-Q7-wandering "$here/zip-crypto.zip" long.txt other.txt
7z a -bso0 -tzip -potter-Q7-wandering -mem=AES256 "$here/zip-aes256.zip" long.txt other.txt
7z a -bso0 -tzip -potter-Q7-wandering -mem=AES256 -mx0 "$here/zip-aes256-stored.zip" long.txt
7z a -bso0 -tzip -potter-Q7-wandering -mem=AES256 "$here/zip-aes256-small.zip" annex.txt
7z a -bso0 -tzip -potter-Q7-wandering -mem=AES192 "$here/zip-aes192.zip" long.txt
7z a -bso0 -tzip -potter-Q7-wandering -mem=AES128 "$here/zip-aes128.zip" long.txt
cp "$here/zip-aes256.zip" mixed.zip
7z a -bso0 -tzip mixed.zip annex.txt
mv mixed.zip "$here/zip-mixed.zip"
cp "$here/zip-aes256.zip" locked.zip
zip -q -X -0 "$here/zip-aes-in-plain.zip" locked.zip
zip -q -X plain.zip long.txt
7z a -bso0 -tzip -potter-Q7-wandering -mem=AES256 "$here/zip-plain-in-aes.zip" plain.zip
7z a -bso0 -tzip -potter-Q7-wandering "$here/zip-plain-in-zipcrypto.zip" plain.zip -mem=ZipCrypto -mx0
zip -q -X -j deep1.zip annex.txt && zip -q -X deep2.zip deep1.zip && zip -q -X "$here/zip-nested.zip" deep2.zip
7z a -bso0 -tzip -mm=BZip2 "$here/zip-bzip2.zip" long.txt
7z a -bso0 -tzip -mm=LZMA "$here/zip-lzma.zip" long.txt
7z a -bso0 -tzip -mm=Deflate64 "$here/zip-deflate64.zip" long.txt
7z a -bso0 -potter-Q7-wandering -mhe=on "$here/locked.7z" annex.txt
cd "$here"

# Office
soffice --headless --infilter="CSV:44,34,76" --convert-to xlsx --outdir "$work" "$work/table.csv" >/dev/null 2>&1
cp "$work/table.xlsx" table.xlsx
for kind in odt doc rtf; do
    soffice --headless --convert-to $kind --outdir "$work" note.docx >/dev/null 2>&1
    cp "$work/note.$kind" "note.$kind"
done
soffice --headless --convert-to pptx --outdir "$work" "$work/slides.fodp" >/dev/null 2>&1
cp "$work/slides.pptx" slides.pptx
"$PYTHON" - <<'END'
import io
from msoffcrypto.format.ooxml import OOXMLFile
for source, password, target in (("note.docx", "otter-Q7-wandering", "office-aes256.docx"), ("table.xlsx", "VelvetSweatshop", "office-velvet.xlsx"), ("note.docx", "", "office-empty.docx")):
    with open(source, "rb") as file, open(target, "wb") as out:
        OOXMLFile(file).encrypt(password, out)
END

# other encryption
gpg --batch --quiet --yes --pinentry-mode loopback --passphrase otter-Q7-wandering --armor --cipher-algo AES256 --symmetric -o message.asc "$work/annex.txt"
gpg --batch --quiet --yes --pinentry-mode loopback --passphrase otter-Q7-wandering --cipher-algo AES256 --symmetric -o message.gpg "$work/annex.txt"
openssl enc -aes-256-cbc -pbkdf2 -pass pass:otter-Q7-wandering -in "$work/long.txt" -out salted.enc
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/k.pem" -out "$work/c.pem" -days 3650 -subj /CN=test 2>/dev/null
openssl cms -encrypt -aes-256-cbc -binary -in "$work/annex.txt" -outform DER -out message.p7m "$work/c.pem"
