#!/bin/sh
# Build the image of the lambda-variants example from Debian packages, without an image registry and without running
# a container: fetch the packages, unpack them into one tree, import the tree.
#
#   build-image.sh [IMAGE]         the image's name; CONTAINER_TOOL names another tool than podman
set -eu

image=${1:-localhost/wesgate/lambda:1}
tool=${CONTAINER_TOOL:-podman}
programs='bash dash coreutils grep sed gawk gzip bwa samtools bcftools'

for needed in "$tool" apt-get apt-cache dpkg-deb tar; do
    command -v "$needed" >/dev/null || { echo "build-image: $needed is needed and is not installed" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/debs" "$work/tree"
cd "$work/debs"

# shellcheck disable=SC2086  # one word for each program
packages=$(
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        $programs | grep '^[a-z0-9]' |
        # What only installing needs, and scripting languages that only rarely used parts of the programs need.
        grep -v -E '^(perl|python|libpython|debconf|cdebconf|dpkg|tar|install-info|media-types|mailcap|update-inetd)' |
        sort -u
)
# shellcheck disable=SC2086  # one word for each package
apt-get -q -q -o APT::Sandbox::User=root download $packages

for deb in *.deb; do
    dpkg-deb -x "$deb" "$work/tree"
done

cd "$work/tree"
rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/lintian usr/lib/*/gconv usr/lib/*/perl*
# These programs are chosen by scripts that run at installation.
ln -sf gawk usr/bin/awk
[ -e bin/sh ] || ln -s dash bin/sh
mkdir -p tmp root proc sys dev etc
chmod 1777 tmp
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group

tar --owner=0 --group=0 --numeric-owner -cf - . |
    "$tool" import -q -c 'ENV PATH=/usr/local/bin:/usr/bin:/bin' -c 'ENV LANG=C.UTF-8' - "$image" >/dev/null
echo "$image"
