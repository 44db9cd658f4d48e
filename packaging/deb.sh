#!/bin/sh
# Builds the Debian package into dist/: make deb. Needs dpkg-dev, debhelper, python3-venv and python3-pip of the target release.
set -eu
cd "$(dirname "$0")/.."
for program in dpkg-buildpackage dh; do
  command -v $program >/dev/null 2>&1 \
    || { echo "deb.sh: $program is not there; run: apt install dpkg-dev debhelper python3-venv python3-pip" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
git archive --format=tar --prefix=gov-mail-gateway/ HEAD | tar -x -C "$work"
tree=$work/gov-mail-gateway
cp -R "$tree/packaging/debian" "$tree/debian"
release=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
suffix=$(. /etc/os-release; echo "${ID:-linux}${VERSION_ID:-}" | tr -cd 'a-z0-9.')
printf 'gov-mail-gateway (%s+%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- The gov-mail-gateway project <gov-mail-gateway@localhost>  %s\n' \
  "$release" "$suffix" "$(git log -1 --format=%cD)" > "$tree/debian/changelog"
(cd "$tree" && dpkg-buildpackage --build=binary --unsigned-changes --unsigned-source --no-check-builddeps)
mkdir -p dist
cp "$work"/*.deb dist/
for package in "$work"/*.deb; do echo "dist/$(basename "$package")"; done
