#!/bin/sh
# Check the variants that were called against those that the reads are known to hold.
#
#   check-variants.sh VARIANTS.vcf [EXPECTED.tsv]
#
# Every expected site must be there with the same change, and no confident site (QUAL >= 200) may be there besides.
set -eu

[ $# -ge 1 ] || { echo "usage: check-variants.sh VARIANTS.vcf [EXPECTED.tsv]" >&2; exit 2; }
expected=${2:-$(dirname "$0")/expected.tsv}
for file in "$1" "$expected"; do
    [ -r "$file" ] || { echo "check-variants: $file cannot be read" >&2; exit 2; }
done

exec awk -F '\t' '
    # Callers write one indel in several ways (ATT>AT, AT>A): cut what both alleles end with, then what both begin with.
    function change(position, old, new,    last) {
        old = toupper(old); new = toupper(new)
        while (length(old) > 1 && length(new) > 1) {
            last = substr(old, length(old))
            if (last != substr(new, length(new))) break
            old = substr(old, 1, length(old) - 1); new = substr(new, 1, length(new) - 1)
        }
        while (length(old) > 1 && length(new) > 1 && substr(old, 1, 1) == substr(new, 1, 1)) {
            old = substr(old, 2); new = substr(new, 2); position++
        }
        return position "\t" old "\t" new
    }
    /^#/ { next }
    FILENAME == ARGV[1] { wanted[change($1, $2, $3)] = 1; count++; next }
    {
        found = change($2, $4, $5)
        called[found] = 1
        if ($6 >= 200 && !(found in wanted)) { print "not expected: " found; wrong = 1 }
    }
    END {
        for (site in wanted) if (!(site in called)) { print "missing: " site; wrong = 1 }
        if (count == 0) { print "nothing is expected: the file of sites is empty"; wrong = 1 }
        if (!wrong) print "all " count " expected variants were called, and no confident one besides"
        exit wrong
    }
' "$expected" "$1"
