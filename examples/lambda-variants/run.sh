#!/bin/sh
# Run the lambda-variants example on a service, from the reads that Debian's bowtie2-examples brings along, and check
# the variants that come out.
#
#   run.sh DIRECTORY      where the data is put; the service must let runs read there
#                         (WESGATE_FILES__ALLOWED='["DIRECTORY"]' wesgate serve)
#
# WESGATE_URL and WESGATE_TOKEN name the service; WESGATE is the command, if it is not on PATH.
set -eu

[ $# -eq 1 ] || { echo "usage: run.sh DIRECTORY" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
data=$(cd "$1" && pwd)
wesgate=${WESGATE:-wesgate}

package=bowtie2-examples
dpkg -L "$package" >/dev/null 2>&1 || { echo "run: the data is in the Debian package $package: apt-get install $package" >&2; exit 2; }
find_data() {
    dpkg -L "$package" | grep "/$1\$" || { echo "run: $package holds no $1" >&2; exit 2; }
}
for name in lambda_virus.fa.gz reads_1.fq.gz reads_2.fq.gz; do
    cp "$(find_data "$name")" "$data/$name"
done

vcf=$(
    "$wesgate" run "$here/lambda-variants.wdl" --wait --json \
        "reference=$data/lambda_virus.fa.gz" "reads_1=$data/reads_1.fq.gz" "reads_2=$data/reads_2.fq.gz" |
        sed -n 's/^ *"lambda_variants\.vcf": "\(.*\)",\{0,1\}$/\1/p'
)
[ -n "$vcf" ] || { echo "run: the run did not end well; see: $wesgate status last" >&2; exit 1; }
echo "$vcf"
"$here/check-variants.sh" "$vcf"
