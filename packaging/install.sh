#!/bin/sh
# Installs the gateway from this folder alone: no package index, no compiler. Needs Python of the version in the folder's name.
#
#   ./install.sh [--prefix /opt/gateway] [--python /usr/bin/python3] [--no-link]
#
# Takes nothing whose hash is not in install.lock. Running it again replaces the installed program; config, rules and state stay.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=/opt/gateway python=python3 link=yes
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=${2:?--prefix needs a folder}; shift 2 ;;
    --python) python=${2:?--python needs a program}; shift 2 ;;
    --no-link) link=no; shift ;;
    -h|--help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install.sh: $1 is no option; see --help" >&2; exit 2 ;;
  esac
done
case $prefix in /*) ;; *) echo "install.sh: --prefix: $prefix is not an absolute path" >&2; exit 2 ;; esac

wanted=$(basename "$here" | sed -n 's/.*-py\([0-9]*\.[0-9]*\)-.*/\1/p')
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
  || { echo "install.sh: $python is not there; name one with --python" >&2; exit 2; }
if [ -n "$wanted" ] && [ "$wanted" != "$found" ]; then
  echo "install.sh: this bundle is for Python $wanted and $python is $found; name another with --python, or make a bundle for $found" >&2
  exit 2
fi
(cd "$here" && sha256sum --quiet --check SHA256SUMS) \
  || { echo "install.sh: this folder is not what was packed (see above); copy it again" >&2; exit 1; }

# The new program is built beside the old one and put in its place at the end: a failure leaves the old one as it was.
new=$prefix.new-$$
trap 'rm -rf "$new"' EXIT INT TERM
rm -rf "$new"
mkdir -p "$(dirname "$prefix")"
"$python" -m venv --without-pip "$new" || { echo "install.sh: $python has no venv module" >&2; exit 2; }
echo "Installing into $prefix" >&2
PYTHONPATH=$(echo "$here"/pip-*.whl) "$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
  --no-index --find-links "$here/wheelhouse" --require-hashes --requirement "$here/install.lock"
printf '%s\n' '#!/bin/sh' "exec $prefix/bin/python -P -m gateway \"\$@\"" > "$new/bin/gateway"
chmod 755 "$new/bin/gateway"
find "$new/bin" "$new/pyvenv.cfg" -type f -exec sed -i "s|$new|$prefix|g" {} +
mkdir -p "$new/share"
for part in systemd docs samples watch; do
  if [ -d "$here/$part" ]; then cp -R "$here/$part" "$new/share/"; fi
done
if [ -e "$prefix" ]; then rm -rf "$prefix.old"; mv "$prefix" "$prefix.old"; fi
mv "$new" "$prefix"
rm -rf "$prefix.old"
trap - EXIT INT TERM
if [ "$link" = yes ] && [ -d /usr/local/bin ] && [ -w /usr/local/bin ]; then
  ln -sf "$prefix/bin/gateway" /usr/local/bin/gateway
fi
"$prefix/bin/gateway" --version
echo "Next: gateway setup" >&2
