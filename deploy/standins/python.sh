#!/bin/sh
# `sh deploy/standins/python.sh`: where no registry can be reached, an image of Debian's packages
# that stands in for the base that our Dockerfiles name. For rehearsals alone: Debian's Python is of
# that version or near it, and the release around it is another one (sid). Needs root, debootstrap and
# Docker; the image asks and
# trusts whom this machine does.
set -eu
cd "$(dirname "$0")/.."
image=$(sed -n 's/^ARG PYTHON_IMAGE=//p' gateway.Dockerfile)
python=$(printf '%s' "$image" | sed -E 's/^python:([0-9]+\.[0-9]+).*/python\1/')
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
debootstrap --variant=minbase --include="$python,$python-venv,ca-certificates" "${SUITE:-sid}" "$root" >&2
ln -s "$python" "$root/usr/bin/python"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
apt-config dump Acquire > "$root/etc/apt/apt.conf.d/99machine"
printf '%s stands in for %s: ' "$(chroot "$root" python --version)" "$image"
tar -C "$root" --exclude=./proc --exclude=./sys --exclude='./var/cache/apt/archives/*.deb' -c . | docker import \
  --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8' \
  --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
  --change 'CMD ["python"]' - "$image"
