#!/bin/sh
# Write reads for the example as FASTQ to standard output: made up, and the same for every call.
#
#   make-reads.sh [READS] | gzip -n >reads.fastq.gz
set -eu

exec awk -v reads="${1:-4000}" '
    # Park and Miller: every product stays below 2^53, so that all awks draw the same numbers.
    function draw(below) {
        state = (state * 16807) % 2147483647
        return state % below
    }
    BEGIN {
        state = 20261121
        for (code = 33; code < 127; code++) letter[code - 33] = sprintf("%c", code)
        for (read = 1; read <= reads; read++) {
            bases = draw(5) ? 101 : 70 + draw(31)
            worse = draw(12) ? draw(3) : 4 + draw(12)
            sequence = scores = ""
            for (at = 1; at <= bases; at++) {
                # Sequencers begin a little unsure and tire towards the end of a read.
                expected = 38 - 6 / at - 13 * (at / 101) * (at / 101) * (at / 101) - worse
                quality = int(expected + (draw(500) - draw(700)) / 100 + 0.5)
                if (quality > 41) quality = 41
                if (quality < 2 || draw(900) == 0) quality = 2
                sequence = sequence (quality == 2 ? "N" : substr("ACGT", 1 + draw(4), 1))
                scores = scores letter[quality]
            }
            printf "@read.%d\n%s\n+\n%s\n", read, sequence, scores
        }
    }'
